/*
 * witness.h
 *		Does the journal know of a payment before it reaches us?
 */
#ifndef WITNESS_H
#define WITNESS_H

#include <stdbool.h>

extern bool witness_start(const char *conninfo, const char *table);
extern void witness_pay(const char *ref_id);
extern void witness_stop(void);

#endif							/* WITNESS_H */
