#!/bin/sh
# The first one gets no time; the second one says how it was started.
if [ "$SLUICE_COMPILE_PRIORITY" = idle ]; then exec sleep 1000; fi
echo "started with $SLUICE_COMPILE_PRIORITY priority" >&2
exit 1
