#!/bin/sh
# Serve the student in this folder, or talk to it. Nothing is fetched from anywhere.
#
#   ./start.sh                     check the files, install the wheels once, serve on 127.0.0.1
#   ./start.sh serve --port 9000   the same, with options of `distill serve`
#   ./start.sh chat                talk to it in the terminal
#   ./start.sh check               check the files only
#
# PYTHON=python3.12    the Python to use, 3.11 or later; without wheels one that has the toolkit
# CHECK=0              do not check the files again: a large model takes a minute
set -eu
cd "$(dirname "$0")"
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
python=${PYTHON:-python3}

fail() {
    printf 'error: %s\n  %s\n' "$1" "$2" >&2
    exit 1
}

command=${1:-serve}
[ $# -eq 0 ] || shift
case $command in
    -h | --help | help)
        sed -n '2,/^set -eu/s/^# \{0,1\}//p' start.sh
        exit 0
        ;;
esac

if [ "${CHECK:-1}" != 0 ] || [ "$command" = check ]; then
    sums=sha256sum
    command -v sha256sum >/dev/null || sums='shasum -a 256'
    report=$($sums -c SHA256SUMS 2>&1) || {
        printf '%s\n' "$report" | grep -v ': OK$' >&2 || :
        fail 'these files are not what SHA256SUMS says' 'copy or unpack the bundle again'
    }
    echo 'all files are as SHA256SUMS says' >&2
fi
[ "$command" != check ] || exit 0

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$python is missing or too old, 3.11 is the least" 'name another: PYTHON=python3.12 ./start.sh'
if [ -d wheels ]; then
    if [ ! -f .venv/installed ]; then
        echo 'installing the wheels into .venv, once' >&2
        "$python" -m venv .venv || fail 'no virtual environment' 'on Debian: apt install python3-venv'
        # What pip is told on this machine could bring other wheels in: it is told nothing.
        PIP_CONFIG_FILE=/dev/null .venv/bin/python -m pip --isolated install --quiet --no-deps \
            --disable-pip-version-check --no-index --find-links wheels --require-hashes \
            -r requirements.txt ||
            fail 'the wheels do not install here' 'they are of another system or Python, see above'
        touch .venv/installed
    fi
    python=.venv/bin/python
fi
"$python" -P -c 'import distill' 2>/dev/null ||
    fail "$python does not have the toolkit" \
        'name one that has: PYTHON=/path/to/python ./start.sh; or make the bundle with --wheels'

student=model
for gguf in model/*.gguf; do
    [ ! -f "$gguf" ] || student=$gguf
done
[ "$command" != serve ] || set -- --name "${PWD##*/}" "$@"
exec "$python" -P -m distill "$command" "$student" "$@"
