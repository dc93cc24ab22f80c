/*
 * pace.h
 *	  How fast questions may leave.
 */
#ifndef DIGIPAY_PACE_H
#define DIGIPAY_PACE_H

#include "utils/timestamp.h"

extern bool dp_pace_may_ask(void);
extern void dp_pace_asked(void);
extern void dp_pace_not_asked(void);
extern TimestampTz dp_pace_next_question(void);

#endif							/* DIGIPAY_PACE_H */
