# Boots this machine's systemd, in its own namespaces, on a throw-away overlay of the file system. Argument: an empty
# folder. `unshare --kill-child` around it takes everything away again.
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
root=$1/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
# The kernel is the machine's own: nothing in there may change its settings.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
# As on a real machine: systemd mounts credentials where the service can see them by that.
mount --make-rshared "$root"
ip link set lo up
# Nothing but the journal is started: what else the machine would do at its start has no place here.
rm -rf "$root"/lib/systemd/system/*.wants "$root"/etc/systemd/system/*.wants
printf '[Unit]\nWants=systemd-journald.service\nAfter=systemd-journald.service\nAllowIsolate=yes\n' \
	>"$root/etc/systemd/system/bare.target"
export container=edge-inspect-test
exec chroot "$root" /lib/systemd/systemd --unit=bare.target --show-status=no
