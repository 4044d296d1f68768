#!/bin/sh
# make bench: tests/bench/run.sh BUILD
"$1/pofit" tests/bench/bench.lua
