# For the benchmarks: a place for a data directory that is on a disk, not in
# memory, since flushing is part of what they measure.  Needs script/lib.sh.

# Remove it, when its server has been stopped.
remove_disk()
{
	[ -z "${disk:-}" ] || rm -rf "$disk"
}

# Make one under $DISK (/var/tmp), as $disk; it is removed at the end.
make_disk()
{
	at_end=remove_disk
	disk=$(mktemp -d "${DISK:-/var/tmp}/digipay.XXXXXX")
	chmod 711 "$disk"
	case $(stat -f -c %T "$disk") in
		tmpfs | ramfs) die "$disk is in memory; set DISK to a directory on a disk" ;;
	esac
}
