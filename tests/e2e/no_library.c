/* A host without libnftables for those who load it while they run: preloaded into programs by tests.
 *
 * The program nft is linked to the library and goes on working.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

void *dlopen(const char *file, int flags)
{
	static void *(*real)(const char *, int);
	if (!real)
		real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
	if (file && strstr(file, "libnftables"))
		file = "libabsent.so.1";
	return real(file, flags);
}
