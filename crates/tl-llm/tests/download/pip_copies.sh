#!/bin/sh
# Stands in for Python in tests: `SELF -m pip download ... -d FOLDER PROJECT==VERSION` copies the wheel that
# the test has put at the top of the cache, three folders up.
while [ "$1" != -d ]; do shift; done
cp "$2/../../../$3.whl" "$2/$3-py3-none-any.whl"
