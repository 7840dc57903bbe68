# environment CHECKOUT FOLDER: installs the packages in the lock file of CHECKOUT into FOLDER.
# Python then searches modules in the checkout itself. If your package must be built first, install it here too, with
# "$folder/bin/python" -m pip install --no-deps --editable .
environment() {
  local checkout=$1 folder=$2 lock
  python -m venv "$folder"
  (
    cd "$checkout" # paths in lock files are relative to it
    if [ -f uv.lock ]; then
      UV_PROJECT_ENVIRONMENT=$folder tool uv sync --frozen --inexact
      exit
    elif [ -f poetry.lock ]; then
      VIRTUAL_ENV=$folder tool poetry install --no-interaction
      exit
    elif [ -f pylock.toml ]; then
      "$folder/bin/python" -m pip install --quiet --upgrade pip # an old pip cannot read it
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
      "requirements.txt nor constraints.txt. Without a lock file both sides would get the newest versions." >&2
    exit 2
  )
}
# tool NAME ARGUMENT...: runs the program NAME of the package NAME, and installs it before the first use.
tool() {
  if [ ! -x "$WORK/tools/bin/$1" ]; then
    python -m venv "$WORK/tools"
    "$WORK/tools/bin/python" -m pip install --quiet "$1"
  fi
  "$WORK/tools/bin/$1" "${@:2}"
}
# module_path OPTION CHECKOUT: prints OPTION and each folder of the checkout with modules, one a line.
module_path() {
  local folder
  for folder in "$2/src" "$2"; do
    if [ -d "$folder" ]; then printf '%s\n' "$1" "$folder"; fi
  done
}
# baseline_name CONFIG: the name of the baseline of a sweep on this processor: `main/quick/AMD-EPYC-7763-64-Core-Processor`.
# Hosted runners differ from day to day, and convbench does not compare times of different processors.
baseline_name() {
  local stem=${1##*/} processor
  processor=$(LC_ALL=C lscpu | sed -n 's/^ *Model name: *//p' | head -n 1)
  printf 'main/%s/%s' "${stem%.*}" "${processor:-unknown}" | tr -cs 'A-Za-z0-9._/' '-' | cut -c -100
}
