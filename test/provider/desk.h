/*
 * desk.h
 *		What is asked about the account: its balance, the price list, a deposit.
 */
#ifndef DESK_H
#define DESK_H

#include <stdbool.h>

#include "answer.h"
#include "buffer.h"

extern bool desk_is_call(const char *path);
extern void desk_answer(const char *path, const char *body, Answer *answer);
extern void desk_show(Buffer *json);
extern void desk_reset(void);

#endif							/* DESK_H */
