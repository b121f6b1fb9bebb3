#!/bin/sh
# Stands in for a Python whose pip never ends: it waits for input that cannot come.
exec tail -f /dev/null
