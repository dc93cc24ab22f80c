/*
 * timer.h
 *		Calls made later, by one thread.
 */
#ifndef TIMER_H
#define TIMER_H

#include <stdbool.h>

#define TIMER_HELD	(-1)		/* milliseconds until timer_hold(false) */

typedef void (*TimerCall) (void *argument);

extern bool timer_start(void);
extern void timer_add(int milliseconds, TimerCall call, void *argument);
extern void timer_hold(bool hold);
extern void timer_stop(void);

#endif							/* TIMER_H */
