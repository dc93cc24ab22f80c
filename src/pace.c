/*-------------------------------------------------------------------------
 *
 * pace.c
 *	  How fast questions may leave: never more than 64 in any second, whoever
 *	  asks, so that an outage does not end in a storm.
 *
 * A bucket: a few at once, then one at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pace.h"

/* So many at once, then one every so many microseconds: 62 in a second at most. */
#define BURST		6
#define EVERY_US	18000

static int	left = BURST;
static TimestampTz filled_at = 0;	/* when left was right */

/* May one more question leave now? */
bool
dp_pace_may_ask(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		more = (now - filled_at) / EVERY_US;

	if (more < 0)
		filled_at = now;		/* the clock was set back */
	else if (left + more >= BURST)
	{
		left = BURST;
		filled_at = now;
	}
	else
	{
		left += (int) more;
		filled_at += more * EVERY_US;
	}
	return left > 0;
}

/* A question leaves. */
void
dp_pace_asked(void)
{
	left--;
}

/* It did not leave after all. */
void
dp_pace_not_asked(void)
{
	left = Min(left + 1, BURST);
}

/* When the next one may leave. */
TimestampTz
dp_pace_next_question(void)
{
	return filled_at + EVERY_US;
}
