/* A kernel without packet queues: preloaded into programs by tests.
 *
 * In each netlink message, the nft expression "queue" and the xtables target NFQUEUE become names that no kernel
 * knows; the refusal is then the kernel's own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>

static void rename_queue(char *data, size_t size)
{
	/* An attribute of type 1 (NFTA_EXPR_NAME): its length, its type, the name. */
	static const char statement[] = "\x0a\0\x01\0queue";
	char *found;
	while ((found = memmem(data, size, "NFQUEUE", 7)))
		memcpy(found, "ABSENT_", 7);
	while ((found = memmem(data, size, statement, sizeof(statement))))
		memcpy(found + 4, "absen", 5);
}

static int is_netlink(int fd)
{
	int domain = 0;
	socklen_t size = sizeof(domain);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK;
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
	char copy[size];
	memcpy(copy, data, size);
	if (is_netlink(fd))
		rename_queue(copy, size);
	return sendto(fd, copy, size, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	static ssize_t (*real)(int, const struct msghdr *, int);
	if (!real)
		real = (ssize_t (*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
	for (size_t i = 0; is_netlink(fd) && i < message->msg_iovlen; i++)
		rename_queue(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
	return real(fd, message, flags);
}
