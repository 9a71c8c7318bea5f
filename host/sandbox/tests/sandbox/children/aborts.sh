#!/bin/sh
kill -ABRT $$
