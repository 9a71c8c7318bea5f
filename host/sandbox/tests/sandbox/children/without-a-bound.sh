#!/bin/sh
# The compiler of the process that starts this, which is not told its CPU time.
unset SLUICE_COMPILE_SECONDS
exec "/proc/$PPID/exe" "$@"
