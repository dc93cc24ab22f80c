/*
 * fence.h
 *	  Whose queue this is: a copy of the database must not pay it as well.
 */
#ifndef DIGIPAY_FENCE_H
#define DIGIPAY_FENCE_H

#include "digipay.h"

/* How the queue and this place go together. */
typedef enum DpFenceState
{
	DP_FENCE_OPEN,				/* it is ours */
	DP_FENCE_UNMADE,			/* no worker has been here yet */
	DP_FENCE_UP					/* it is somebody else's: nothing may be paid */
} DpFenceState;

typedef struct DpFence
{
	DpFenceState state;
	pg_uuid_t	origin;			/* the mark of our payments */
	bool		promoted;		/* up because this was a standby, it seems */
	bool		ask_first;		/* ref_ids are asked about before they are paid */
	TimestampTz since;			/* when the mark was made */
	char		reason[256];	/* why it is up */
} DpFence;

/* for everybody */
extern void dp_fence_read(DpFence *fence);
extern void dp_fence_problem(const DpFence *fence, DpProblem *problem);
extern void dp_fence_adopt(const DpFence *fence);
extern pg_uuid_t *dp_fence_origin(void);

/* for the worker */
extern void dp_fence_open(void);
extern const DpFence *dp_fence(void);
extern bool dp_fence_asks_first(void);
extern void dp_fence_forget_take_over(void);
extern void dp_fence_keep_take_over(void);
extern void dp_fence_take_over(const char *role, bool lost_nothing);

#endif							/* DIGIPAY_FENCE_H */
