/*
 * raw.h
 *		The listener that misbehaves: plain sockets, HTTP by hand.
 *
 * An answer on the raw listener is a list of steps, done one after the other.
 * A fault is a function that lays out other steps than the usual ones.
 */
#ifndef RAW_H
#define RAW_H

#include <stdbool.h>
#include <stddef.h>

#include "answer.h"
#include "buffer.h"

typedef struct RawConnection RawConnection;

/* in raw.c: what a fault may do */
extern void raw_send(RawConnection *connection, const void *bytes, size_t length);
extern void raw_repeat(RawConnection *connection, const void *bytes, size_t length, long long times);
extern void raw_wait(RawConnection *connection, int milliseconds);
extern void raw_await(RawConnection *connection);
extern void raw_reset(RawConnection *connection);
extern void raw_close(RawConnection *connection);
extern void raw_hold(RawConnection *connection);
extern void raw_answered(RawConnection *connection);
extern void raw_head(const Answer *answer, size_t length, Buffer *head);
extern void raw_send_answer(RawConnection *connection, const Answer *answer);

extern bool raw_start(int port);
extern int	raw_port(void);
extern void raw_stop(void);

#endif							/* RAW_H */
