# Configuration templates. @NAME@ is the shell variable NAME; a line
# "@include FILE USER@" pastes etc/FILE with @USER@ set, which keeps the
# Keystone credentials that OpenStack wants in every section in one place.
# shellcheck shell=bash

# render TEMPLATE TARGET [NAME=VALUE...]
render() {
  local template=$1 target=$2
  shift 2
  # Without arguments "local" would print what there is.
  if (($#)); then local "$@"; fi
  mkdir -p "$(dirname "$target")"
  (umask 077 && expand_template "$template" >"$target.new")
  mv "$target.new" "$target"
}

expand_template() {
  local line name user
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $line =~ ^@include\ ([a-z-]+)\ ([a-z]+|@USER@)@$ ]]; then
      user=${BASH_REMATCH[2]/@USER@/${USER:-}}
      USER=$user expand_template "${BASH_REMATCH[1]}"
      continue
    fi
    while [[ $line =~ @([A-Z_]+)@ ]]; do
      name=${BASH_REMATCH[1]}
      [[ -v $name ]] || die "template $1: nothing known about @$name@"
      line=${line//"@$name@"/${!name}}
    done
    printf '%s\n' "$line"
  done <"$DEVSTACK/etc/$1"
}
