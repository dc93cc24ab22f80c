/*
 * fault.h
 *	  Places where a test build can be made to fail; in any other, nothing.
 *
 * A build with -DDIGIPAY_FAULT_POINTS looks for a file named like the point in
 * the directory digipay_fault of the data directory, at each pass:
 *
 *	[skip N] error | sleep MILLISECONDS | kill | exit
 *
 * It is removed before the fault strikes, so that it strikes once, even if that
 * ends the server.  "skip" lets so many passes go by first.  Put it in place by
 * renaming, or half of it may be read.
 */
#ifndef DIGIPAY_FAULT_H
#define DIGIPAY_FAULT_H

typedef enum DpFaultPoint
{
	DP_FAULT_BEFORE_INTENT,		/* in the turn, before anything is prepared */
	DP_FAULT_AFTER_INTENT,		/* committed, not handed to the transport */
	DP_FAULT_IN_PREREQ,			/* connected, not a byte of the request sent */
	DP_FAULT_AFTER_SEND,		/* the last byte of it given to the kernel */
	DP_FAULT_AFTER_HEADERS,		/* the reply's headers are here */
	DP_FAULT_AFTER_BODY,		/* all of the reply is here */
	DP_FAULT_BEFORE_OUTCOME,	/* in the turn, before it is written */
	DP_FAULT_AFTER_OUTCOME		/* committed, nobody woken */
} DpFaultPoint;

#ifdef DIGIPAY_FAULT_POINTS

extern void dp_fault(DpFaultPoint point);
extern bool dp_fault_in_callback(DpFaultPoint point);

/* Where an error may be raised. */
#define DP_FAULT(point)				dp_fault(point)

/* Where it may not: true for "error", and the caller makes do with that. */
#define DP_FAULT_IN_CALLBACK(point)	dp_fault_in_callback(point)

#else

#define DP_FAULT(point)				((void) 0)
#define DP_FAULT_IN_CALLBACK(point)	false

#endif

#endif							/* DIGIPAY_FAULT_H */
