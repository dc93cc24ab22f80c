/*
 * shim.c
 *		What a test puts between a program and its C library (LD_PRELOAD).
 *
 * The clock: real time is off by as many seconds as a file says, at every
 * moment anew, so that it can jump under a running program.  The monotonic
 * clock is left alone, as it is when somebody sets a computer's clock.
 *
 * Names that end in ".test" are asked for at a port of 127.0.0.1, over glibc's
 * own resolver, in place of the name servers of the system.
 *
 * MD5 fails as long as a file is there, as it does where OpenSSL is told to obey
 * FIPS 140.
 *
 * See DigipayShim.pm, which builds it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <resolv.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

/*
 * Map the file with the offset in.
 */
__attribute__((constructor)) static void
find_offset(void)
{
	const char *name = getenv("DIGIPAY_SHIM_CLOCK");
	int			fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void	   *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		offset = map;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	/* the system call itself: the library's function is this one */
	int			result = (int) syscall(SYS_clock_gettime, clock, now);

	if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += *offset;
	return result;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec time;

	(void) zone;
	if (clock_gettime(CLOCK_REALTIME, &time) != 0)
		return -1;
	now->tv_sec = time.tv_sec;
	now->tv_usec = time.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *result)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return (time_t) -1;
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}

typedef int (*Lookup) (const char *, const char *, const struct addrinfo *, struct addrinfo **);

int
getaddrinfo(const char *restrict node, const char *restrict service,
			const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
	Lookup		lookup = (Lookup) dlsym(RTLD_NEXT, "getaddrinfo");
	const char *port = getenv("DIGIPAY_SHIM_DNS");
	size_t		length = node ? strlen(node) : 0;

	if (port && length > 5 && strcasecmp(node + length - 5, ".test") == 0)
	{
		/* the resolver's state is each thread's own; what is set here counts */
		res_init();
		_res.nscount = 1;
		_res.nsaddr_list[0].sin_family = AF_INET;
		_res.nsaddr_list[0].sin_port = htons((uint16_t) atoi(port));
		_res.nsaddr_list[0].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		_res.retrans = 5;
		_res.retry = 2;
	}
	return lookup(node, service, hints, result);
}

typedef int (*DigestInit) (void *, const void *, void *);
typedef const void *(*Digest) (void);

int
EVP_DigestInit_ex(void *context, const void *type, void *engine)
{
	DigestInit	init = (DigestInit) dlsym(RTLD_NEXT, "EVP_DigestInit_ex");
	Digest		md5 = (Digest) dlsym(RTLD_NEXT, "EVP_md5");
	const char *forbids = getenv("DIGIPAY_SHIM_NO_MD5");

	if (forbids && md5 && type == md5() && access(forbids, F_OK) == 0)
		return 0;
	return init ? init(context, type, engine) : 0;
}
