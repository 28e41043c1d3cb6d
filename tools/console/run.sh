#!/bin/sh
# Drives the console in a browser: run.sh <folder for npm packages> [<folder for screenshots>]
set -eu
modules=${1:?"a folder for npm packages, outside of the tree"}
mkdir -p "$modules"
modules=$(cd "$modules" && pwd)
screens=${2:-}
if [ -n "$screens" ]; then
  mkdir -p "$screens"
  screens=$(cd "$screens" && pwd)
fi
if [ ! -d "$modules/node_modules/axe-core" ]; then
  npm install --no-audit --no-fund --prefix "$modules" playwright-core@1.65.1 axe-core@4.14.1
fi
cd "$(dirname "$0")/../.."
CONSOLE_MODULES=$modules CONSOLE_SCREENS=$screens \
  cargo test --locked --test console -- --nocapture --include-ignored
