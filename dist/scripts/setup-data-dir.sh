#!/bin/sh
# Sets up rkt's data directory so that members of the group rkt fetch, list and remove images, while
# only root runs them; members of rkt-admin say in /etc/rkt which keys are trusted.
#
#   setup-data-dir.sh [DATA_DIRECTORY [CONFIGURATION_DIRECTORY]]
#
# RKT_GROUP and RKT_ADMIN_GROUP name other groups, or their numbers. May be run again at any time.
set -eu

data=${1:-/var/lib/rkt}
config=${2:-/etc/rkt}
group=${RKT_GROUP:-rkt}
admins=${RKT_ADMIN_GROUP:-rkt-admin}

if [ "$(id -u)" -ne 0 ]; then
	echo "$0: only root can give directories to groups" >&2
	exit 1
fi

# Makes a group unless it is there or a number.
make_group() {
	case $1 in
	*[!0-9]*) getent group "$1" >/dev/null || groupadd --system "$1" ;;
	esac
}

# Makes a directory with this mode and group; nothing that is there is followed.
directory() {
	if [ -L "$3" ]; then
		echo "$0: $3 is a symbolic link" >&2
		exit 1
	fi
	mkdir -p "$3"
	chown "root:$2" "$3"
	chmod "$1" "$3"
}

make_group "$group"
make_group "$admins"

# New files take the group of their directory. Where root's directories lie, members add to them but
# rename and remove only what is their own (the sticky bit).
directory 2750 "$group" "$data"
for name in cas cas/blob cas/imageManifest; do
	directory 3770 "$group" "$data/$name"
done
for name in blob/sha512 blob/sha256 imageManifest/sha512 imagelocks db tmp; do
	directory 2770 "$group" "$data/cas/$name"
done
# What root runs is written by root alone.
for name in tree treestorelocks building; do
	directory 2750 "$group" "$data/cas/$name"
done
directory 2750 "$group" "$data/pods"
directory 2775 "$admins" "$config"
directory 2775 "$admins" "$config/trustedkeys"
