# environment CHECKOUT FOLDER: makes in FOLDER what the lock file of CHECKOUT asks for.
# Modules are then looked for in the checkout itself; a package that has to be built first is installed here as well:
# end with  "$folder/bin/python" -m pip install --no-deps --editable .
environment() {
  local checkout=$1 folder=$2 lock
  python -m venv "$folder"
  (
    cd "$checkout" # lock files name other files from there
    if [ -f uv.lock ]; then
      UV_PROJECT_ENVIRONMENT=$folder tool uv sync --frozen --inexact
      exit
    elif [ -f poetry.lock ]; then
      VIRTUAL_ENV=$folder tool poetry install --no-interaction
      exit
    elif [ -f pylock.toml ]; then
      "$folder/bin/python" -m pip install --quiet --upgrade pip # an old one cannot read it
      "$folder/bin/python" -m pip install --requirement pylock.toml
      exit
    fi
    for lock in requirements.lock requirements.txt; do
      if [ -f "$lock" ]; then
        "$folder/bin/python" -m pip install --requirement "$lock"
        exit
      fi
    done
    if [ -f constraints.txt ]; then
      "$folder/bin/python" -m pip install --constraint constraints.txt --editable .
      exit
    fi
    echo "$checkout has no lock file: neither uv.lock, poetry.lock, pylock.toml, requirements.lock," \
      "requirements.txt nor constraints.txt. Without one both sides would get whatever is newest today." >&2
    exit 2
  )
}
# tool NAME ARGUMENT...: runs the program of a package of that name, which is installed when it is first needed.
tool() {
  if [ ! -x "$WORK/tools/bin/$1" ]; then
    python -m venv "$WORK/tools"
    "$WORK/tools/bin/python" -m pip install --quiet "$1"
  fi
  "$WORK/tools/bin/$1" "${@:2}"
}
# module_path OPTION CHECKOUT: OPTION before each folder of the checkout in which modules are looked for, one a line.
module_path() {
  local folder
  for folder in "$2/src" "$2"; do
    if [ -d "$folder" ]; then printf '%s\n' "$1" "$folder"; fi
  done
}
# baseline_name CONFIG: a baseline for each sweep on each model of processor: `main/quick/AMD-EPYC-7763-64-Core-Processor`.
# Hosted runners differ from day to day, and times of different processors are never compared.
baseline_name() {
  local stem=${1##*/} processor
  processor=$(LC_ALL=C lscpu | sed -n 's/^ *Model name: *//p' | head -n 1)
  printf 'main/%s/%s' "${stem%.*}" "${processor:-unknown}" | tr -cs 'A-Za-z0-9._/' '-' | cut -c -100
}
