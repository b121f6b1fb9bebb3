#!/bin/sh
# Stands in for a Python whose pip finds nothing.
echo "Looking in indexes: somewhere"
echo "ERROR: Could not find a version that satisfies the requirement" >&2
echo "ERROR: No matching distribution found" >&2
exit 1
