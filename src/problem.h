/*
 * problem.h
 *	  Errors that are worded in one process and raised in another.
 */
#ifndef DIGIPAY_PROBLEM_H
#define DIGIPAY_PROBLEM_H

#include "digipay.h"

extern void dp_problem_set(DpProblem *problem, int sqlerrcode, const char *message);
extern void dp_problem_detail(DpProblem *problem, const char *fmt,...) pg_attribute_printf(2, 3);
extern void dp_problem_hint(DpProblem *problem, const char *hint);
extern void dp_problem_raise(const DpProblem *problem);
extern void dp_copy_clipped(char *dest, size_t size, const char *text);

#endif							/* DIGIPAY_PROBLEM_H */
