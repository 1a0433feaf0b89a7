# The first process of a node: it gives the node a machine of its own to see, and then reaps what is left to it.
# Arguments: the folder of the node, its name.
#
# Everything is private before anything is mounted, and at the end the machine's own files are read-only here: what runs on
# a node writes into its folder and nowhere else.
set -e
folder=$1 name=$2
mount --make-rprivate /
hostname "$name"
mount -t proc proc /proc

# A kubelet wants these values, which are the whole machine's. Here it finds them.
set -- vm/overcommit_memory 1 vm/panic_on_oom 0 kernel/panic 10 kernel/panic_on_oops 1
set -- "$@" kernel/keys/root_maxkeys 1000000 kernel/keys/root_maxbytes 25000000
mkdir "$folder/sysctl"
while [ $# -gt 0 ]; do
    file=$folder/sysctl/$(basename "$1")
    echo "$2" >"$file"
    mount --bind "$file" "/proc/sys/$1"
    shift 2
done

# The devices and the BPF file system of this node, the machine's cgroups.
mkdir "$folder/cgroup"
mount --rbind /sys/fs/cgroup "$folder/cgroup"
mount -t sysfs sysfs /sys
mount --move "$folder/cgroup" /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf

mount -t tmpfs -o mode=755 dev /dev
set -- null 1 3 zero 1 5 full 1 7 random 1 8 urandom 1 9 kmsg 1 11 tty 5 0
while [ $# -gt 0 ]; do
    mknod -m 666 "/dev/$1" c "$2" "$3"
    shift 3
done
mkdir /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd

mount -t tmpfs -o mode=755 run /run
mkdir "$folder/lib" "$folder/log"
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/log" /var/log
mount -o remount,bind,ro /
# Among themselves: pods get what is mounted later on the node.
mount --make-rshared /

# On the node's own file system, as the sign that all of it stands.
echo "$name" >/var/lib/ready
sleep infinity &
wait
