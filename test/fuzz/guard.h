/*
 * guard.h
 *	  Memory with guards around it, for the code that is being fuzzed.
 *
 * Included before everything else when the tested files are compiled, so that
 * what they allocate comes from here, from the same memory contexts.
 */
#ifndef FUZZ_GUARD_H
#define FUZZ_GUARD_H

#ifndef FUZZ_GUARD_ITSELF
#define palloc	fuzz_palloc
#define repalloc fuzz_repalloc
#define pfree	fuzz_pfree
#define pstrdup fuzz_pstrdup
#define pnstrdup fuzz_pnstrdup
#endif

#endif							/* FUZZ_GUARD_H */
