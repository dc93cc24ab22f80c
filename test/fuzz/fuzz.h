/*
 * fuzz.h
 *	  What the fuzzer's files have of each other.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "digipay.h"
#include "utils/memutils.h"

/* How many characters an input has before the reply's body. */
#define FUZZ_HEAD_SIZE	2

/* fuzz.c: a finding; does not return. */
extern void fuzz_found(const char *format,...) pg_attribute_printf(1, 2);

/* guard.c */
extern void fuzz_guard_reset(void);
extern void fuzz_guard_check(void);
extern bool fuzz_guard_is_string(char *text, MemoryContext context);

/* judge.c */
extern DpState fuzz_judge(const DpAsk *ask, DpDialect dialect, const DpResponse *response,
						  DpReply *reply);

/* mutate.c */
extern void fuzz_keep(const uint8_t *data, size_t size, DpState state);

#endif							/* FUZZ_H */
