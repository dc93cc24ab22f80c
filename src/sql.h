/*
 * sql.h
 *	  The text of every statement; statement.c runs them.
 */
#ifndef DIGIPAY_SQL_H
#define DIGIPAY_SQL_H

#include "statement.h"

/* The relation by whose name a statement reads its rows. */
#define DP_ROWS	"batch"

typedef struct DpStatementText
{
	const char *sql;			/* $S stands for the schema */
	int			nparams;
	Oid			types[DP_MAX_PARAMS];
	const char *const *columns; /* their names, if they come as rows of DP_ROWS */
	bool		by_key;			/* one plan does for all values: by the indexes */
} DpStatementText;

extern const DpStatementText dp_statement_texts[DP_SQL_COUNT];

#endif							/* DIGIPAY_SQL_H */
