/* A kernel without one of nftables' expressions: preloaded into programs by tests.
 *
 * In each netlink message, the expression that ABSENT names ("fib", "queue") becomes one that no kernel knows; the
 * refusal is then the kernel's own. With "queue" the xtables target NFQUEUE is gone as well.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void rename_expression(char *data, size_t size)
{
	const char *name = getenv("ABSENT");
	size_t length = name ? strlen(name) : 0;
	/* An attribute of type 1 (NFTA_EXPR_NAME): its length, its type, the name with its zero. */
	char attribute[64] = { (char)(length + 5), 0, 1, 0 };
	char *found;
	if (!length || length + 5 > sizeof(attribute))
		return;
	memcpy(attribute + 4, name, length);
	while ((found = memmem(data, size, attribute, length + 5)))
		memset(found + 4, 'x', length);
	while (!strcmp(name, "queue") && (found = memmem(data, size, "NFQUEUE", 7)))
		memcpy(found, "ABSENT_", 7);
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
		rename_expression(copy, size);
	return sendto(fd, copy, size, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	static ssize_t (*real)(int, const struct msghdr *, int);
	if (!real)
		real = (ssize_t (*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
	for (size_t i = 0; is_netlink(fd) && i < message->msg_iovlen; i++)
		rename_expression(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
	return real(fd, message, flags);
}
