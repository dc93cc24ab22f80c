/*
 * situation.h
 *	  Where a request must not be made from.
 */
#ifndef DIGIPAY_SITUATION_H
#define DIGIPAY_SITUATION_H

extern void dp_refuse_wrong_situation(const char *function);

#endif							/* DIGIPAY_SITUATION_H */
