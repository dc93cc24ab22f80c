/*
 * digipay_shim.c
 *		Makes disk and memory run out, for tests.
 *
 * Loaded by LD_PRELOAD into every process of a server.  What is to fail is told
 * by a file that all of them have mapped, named by DIGIPAY_SHIM, so it can be
 * changed while they run.  For glibc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* DigipayFault.pm knows the order. */
struct Control
{
	int			full_data;		/* no file of a database can grow */
	int			full_wal;		/* the next write to the WAL fails; 0 then */
	int			malloc_pid;		/* in this process, */
	int			malloc_module;	/* an allocation by this one of modules[] */
	int			malloc_countdown;	/* fails: the next is 1, then 0 again */
	int			strikes;		/* how often something has failed */
};

/* a part of the file's name, in the order of malloc_module from 1 */
static const char *const modules[] = {"", "libcjson", "libcurl", "digipay", "postgres"};

static struct Control none;
static volatile struct Control *control = &none;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static void __attribute__((constructor))
start(void)
{
	const char *path = getenv("DIGIPAY_SHIM");
	int			fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void	   *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(struct Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		control = map;
	close(fd);
}

/* ----------
 * Disk
 * ----------
 */

/* Is the disk full for so many bytes at this place of the file? */
static int
is_full(int fd, off_t end)
{
	char		link[64];
	char		path[4096];
	ssize_t		len;
	struct stat status;

	if (!control->full_data && !control->full_wal)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return 0;
	path[len] = '\0';
	if (control->full_wal && strstr(path, "/pg_wal/"))
	{
		control->full_wal = 0;
		control->strikes++;
		return 1;
	}
	if (control->full_data && strstr(path, "/base/") &&
		fstat(fd, &status) == 0 && end > status.st_size)
	{
		control->strikes++;
		return 1;
	}
	return 0;
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	static ssize_t (*next) (int, const void *, size_t, off_t);

	if (is_full(fd, offset + (off_t) len))
	{
		errno = ENOSPC;
		return -1;
	}
	if (!next)
		next = dlsym(RTLD_NEXT, "pwrite");
	return next(fd, data, len, offset);
}

ssize_t
pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
	static ssize_t (*next) (int, const struct iovec *, int, off_t);
	off_t		end = offset;

	for (int i = 0; i < count; i++)
		end += (off_t) pieces[i].iov_len;
	if (is_full(fd, end))
	{
		errno = ENOSPC;
		return -1;
	}
	if (!next)
		next = dlsym(RTLD_NEXT, "pwritev");
	return next(fd, pieces, count, offset);
}

int
posix_fallocate(int fd, off_t offset, off_t len)
{
	static int	(*next) (int, off_t, off_t);

	if (is_full(fd, offset + len))
		return ENOSPC;
	if (!next)
		next = dlsym(RTLD_NEXT, "posix_fallocate");
	return next(fd, offset, len);
}

/* ----------
 * Memory
 * ----------
 */

struct Search
{
	ElfW(Addr) address;
	const char *name;
	int			found;
};

/* Does this library have the name, and the address within it? */
static int
visit(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct Search *search = arg;
	/* the program itself is the first, and has no name */
	const char *name = info->dlpi_name[0] ? info->dlpi_name : "postgres";
	const char *slash = strrchr(name, '/');

	if (strstr(slash ? slash : name, search->name) == NULL)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
	{
		ElfW(Addr) from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && search->address >= from &&
			search->address < from + info->dlpi_phdr[i].p_memsz)
			search->found = 1;
	}
	return search->found;
}

/* Shall this allocation fail? */
static int
is_out_of_memory(void *caller)
{
	struct Search search = {(ElfW(Addr)) caller, "", 0};

	if (control->malloc_countdown <= 0 || control->malloc_pid != (int) getpid())
		return 0;
	search.name = modules[control->malloc_module];
	dl_iterate_phdr(visit, &search);
	if (!search.found || --control->malloc_countdown > 0)
		return 0;
	control->strikes++;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return is_out_of_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return is_out_of_memory(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
	return is_out_of_memory(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

char *
strdup(const char *text)
{
	size_t		size = strlen(text) + 1;
	char	   *copy = is_out_of_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(size);

	return copy ? memcpy(copy, text, size) : NULL;
}
