# Sourced by the other scripts: makes .venv ready with the extras that are named, and nothing if it is.
# Usage: source scripts/environment.sh EXTRA

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
python=${PYTHON:-python3}
extra=$1

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "tltool needs Python 3.11 or newer, found: $("$python" --version 2>&1). Set PYTHON to one." >&2
  exit 1
fi
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then # Missing, or its creation was cut short.
  echo "creating .venv"
  "$python" -m venv --clear .venv
fi
stamp=.venv/installed-$extra
if ! cmp -s pyproject.toml "$stamp"; then
  echo "installing tltool[$extra] into .venv (a few minutes, once)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
  cp pyproject.toml "$stamp"
fi
export PATH="$PWD/.venv/bin:$PATH"
