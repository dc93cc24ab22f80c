/*-------------------------------------------------------------------------
 *
 * fault.c
 *	  Faults on demand, in test builds only; see fault.h.
 *
 * Nothing is left of this file in any other build: a server that takes orders
 * to die from a file is not to be shipped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fault.h"

#ifdef DIGIPAY_FAULT_POINTS

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "storage/ipc.h"

#define FAULT_DIRECTORY	"digipay_fault"

typedef enum Action
{
	ACTION_NONE,
	ACTION_ERROR,
	ACTION_SLEEP,
	ACTION_KILL,
	ACTION_EXIT
} Action;

/* in the order of DpFaultPoint */
static const char *const point_names[] = {
	"before_intent", "after_intent", "in_prereq", "after_send",
	"after_headers", "after_body", "before_outcome", "after_outcome"
};

/* in the order of Action, from ACTION_ERROR */
static const char *const action_names[] = {"error", "sleep", "kill", "exit"};

/* Read a small file; false if there is none, or nothing in it. */
static bool
read_order(const char *path, char *text, size_t size)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t		len;

	if (fd < 0)
		return false;
	len = read(fd, text, size - 1);
	close(fd);
	if (len <= 0)
		return false;
	text[len] = '\0';
	return true;
}

/* Put the order back with one pass less to skip. */
static void
skip_one_less(const char *path, const char *text, int skip)
{
	char		next_path[MAXPGPATH];
	char		next[128];
	const char *rest = strstr(text, "skip") + strlen("skip");
	int			fd;

	rest += strspn(rest, " \t");
	rest += strspn(rest, "0123456789");
	snprintf(next, sizeof(next), "skip %d%s", skip - 1, rest);
	snprintf(next_path, sizeof(next_path), "%s.next", path);
	fd = open(next_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, next, strlen(next)) != (ssize_t) strlen(next) ||
		rename(next_path, path) != 0)
		write_stderr("digipay fault: \"%s\" cannot be written\n", next_path);
	if (fd >= 0)
		close(fd);
}

/* What is to happen at this pass; *argument is its number. */
static Action
next_action(DpFaultPoint point, int *argument)
{
	char		path[MAXPGPATH];
	char		text[128];
	char		word[16] = "";
	const char *order = text;
	int			skip = 0;
	int			len = 0;
	Action		action = ACTION_NONE;

	/* most of the time nobody wants anything */
	if (access(FAULT_DIRECTORY, F_OK) != 0)
		return ACTION_NONE;
	snprintf(path, sizeof(path), "%s/%s", FAULT_DIRECTORY, point_names[point]);
	if (!read_order(path, text, sizeof(text)))
		return ACTION_NONE;

	if (sscanf(text, " skip %d%n", &skip, &len) == 1)
		order += len;
	if (skip > 0)
	{
		skip_one_less(path, text, skip);
		return ACTION_NONE;
	}
	*argument = 0;
	if (sscanf(order, " %15s %d", word, argument) >= 1)
	{
		for (int i = 0; i < (int) lengthof(action_names); i++)
		{
			if (strcmp(word, action_names[i]) == 0)
				action = (Action) (i + 1);
		}
	}
	unlink(path);
	write_stderr("digipay fault: %s %s in process %d\n", point_names[point],
				 action == ACTION_NONE ? "is told what it does not know" : word,
				 (int) getpid());
	return action;
}

/*
 * Sleep to the end, whatever signals come: a process that is stuck does not
 * react to them either.
 */
static void
sleep_ms(int ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* Die as by the kernel's hand. */
static void
kill_myself(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* A point in PostgreSQL's own code. */
void
dp_fault(DpFaultPoint point)
{
	int			argument;

	switch (next_action(point, &argument))
	{
		case ACTION_NONE:
			break;
		case ACTION_ERROR:
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("digipay fault point %s", point_names[point])));
			break;
		case ACTION_SLEEP:
			sleep_ms(argument);
			break;
		case ACTION_KILL:
			kill_myself();
			break;
		case ACTION_EXIT:
			proc_exit(1);
	}
}

/*
 * A point inside a library's callback.  "exit" is what a library does that ends
 * the process on its own account: by exit(), which runs PostgreSQL's clean-up,
 * so that the server goes on.  (_exit() would be a crash to the postmaster, as
 * "kill" is.)
 */
bool
dp_fault_in_callback(DpFaultPoint point)
{
	int			argument;

	switch (next_action(point, &argument))
	{
		case ACTION_NONE:
			break;
		case ACTION_ERROR:
			return true;
		case ACTION_SLEEP:
			sleep_ms(argument);
			break;
		case ACTION_KILL:
			kill_myself();
			break;
		case ACTION_EXIT:
			exit(1);
	}
	return false;
}

#endif							/* DIGIPAY_FAULT_POINTS */
