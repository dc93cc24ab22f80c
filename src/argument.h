/*
 * argument.h
 *	  The arguments of the functions, read and checked.
 */
#ifndef DIGIPAY_ARGUMENT_H
#define DIGIPAY_ARGUMENT_H

#include "digipay.h"
#include "fmgr.h"

extern void dp_bad_argument(const char *name, const char *what, const char *hint);
extern void dp_take_text(FunctionCallInfo fcinfo, int argno, const char *name,
						 char *dest, size_t max);
extern void dp_take_amount(FunctionCallInfo fcinfo, int argno, const char *name, char *dest);
extern void dp_take_whole_thousands(FunctionCallInfo fcinfo, int argno, DpAsk *ask);
extern void dp_take_whole_rupiah(FunctionCallInfo fcinfo, int argno, DpAsk *ask);
extern void dp_take_server(FunctionCallInfo fcinfo, int argno, DpAsk *ask, DpAccount *account);
extern void dp_take_bill(FunctionCallInfo fcinfo, DpCommand command, DpAsk *ask,
						 DpAccount *account);
extern void dp_take_key(FunctionCallInfo fcinfo, int ref_id_argno, int server_argno,
						DpCommand command, DpAsk *ask, DpAccount *account);
extern long dp_take_milliseconds(FunctionCallInfo fcinfo, int argno, const char *name);

#endif							/* DIGIPAY_ARGUMENT_H */
