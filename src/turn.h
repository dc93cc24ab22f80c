/*
 * turn.h
 *	  A turn of the worker: one transaction for all that is ready.
 */
#ifndef DIGIPAY_TURN_H
#define DIGIPAY_TURN_H

/* How the last turn went. */
typedef enum DpTurn
{
	DP_TURN_DONE,
	DP_TURN_TROUBLE,			/* nothing could be written; back off */
	DP_TURN_UNINSTALLED			/* the extension is gone */
} DpTurn;

extern DpTurn dp_turn(void);
extern bool dp_turn_is_due(void);
extern long dp_turn_timeout(void);
extern int	dp_turn_trouble(void);
extern bool dp_turn_is_stuck(void);

#endif							/* DIGIPAY_TURN_H */
