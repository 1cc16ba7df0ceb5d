/* When did the kernel begin and end each nftables commit of a program? Preloaded into the agent by tests.
 *
 * Wraps sendmsg(2): netlink is synchronous, so the commit happens between entry and return. Writes one line
 * for each batch: entry and return (CLOCK_MONOTONIC, ns), 1 when the batch asks for the commit (dry runs do
 * not), and the kind of its first message (linux/netfilter/nf_tables.h).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH_BEGIN 0x10
#define BATCH_END 0x11

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	static ssize_t (*real)(int, const struct msghdr *, int);
	if (!real)
		real = (ssize_t (*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
	int number = 0, first = -1, last = -1;
	int protocol = 0;
	socklen_t size = sizeof(protocol);
	const char *path = getenv("NETLINK_TIMES");
	if (path && !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) && protocol == NETLINK_NETFILTER)
		for (size_t i = 0; i < message->msg_iovlen; i++) {
			struct nlmsghdr *header = message->msg_iov[i].iov_base;
			int left = (int)message->msg_iov[i].iov_len;
			for (; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
				if (number == 0 && header->nlmsg_type != BATCH_BEGIN)
					return real(fd, message, flags);
				if (number++ == 1)
					first = header->nlmsg_type & 0xff;
				last = header->nlmsg_type;
			}
		}
	if (number == 0)
		return real(fd, message, flags);
	long long entry = now();
	ssize_t sent = real(fd, message, flags);
	long long end = now();
	int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (file >= 0) {
		dprintf(file, "%lld %lld %d %d\n", entry, end, last == BATCH_END, first);
		close(file);
	}
	return sent;
}
