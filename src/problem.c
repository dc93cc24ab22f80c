/*-------------------------------------------------------------------------
 *
 * problem.c
 *	  Errors that are worded in one process and raised in another.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "problem.h"

/* Copy text of the database's encoding, cut at a character where it must be. */
void
dp_copy_clipped(char *dest, size_t size, const char *text)
{
	int			len = pg_mbcliplen(text, strlen(text), size - 1);

	memcpy(dest, text, len);
	dest[len] = '\0';
}

/* Start a problem: its SQLSTATE and primary message. */
void
dp_problem_set(DpProblem *problem, int sqlerrcode, const char *message)
{
	memset(problem, 0, sizeof(*problem));
	problem->sqlerrcode = sqlerrcode;
	dp_copy_clipped(problem->message, sizeof(problem->message), message);
}

/* Add the facts: a full sentence. */
void
dp_problem_detail(DpProblem *problem, const char *fmt,...)
{
	char		text[1024];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	dp_copy_clipped(problem->detail, sizeof(problem->detail), text);
}

/* Add what to do next: a full sentence. */
void
dp_problem_hint(DpProblem *problem, const char *hint)
{
	dp_copy_clipped(problem->hint, sizeof(problem->hint), hint);
}

/* Raise it. */
void
dp_problem_raise(const DpProblem *problem)
{
	ereport(ERROR,
			(errcode(problem->sqlerrcode),
			 errmsg_internal("%s", problem->message),
			 problem->detail[0] ? errdetail_internal("%s", problem->detail) : 0,
			 problem->hint[0] ? errhint("%s", problem->hint) : 0));
}
