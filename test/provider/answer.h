/*
 * answer.h
 *		What goes back to the client, whichever listener it came by.
 */
#ifndef ANSWER_H
#define ANSWER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Answer
{
	int			http_status;
	char	   *content_type;	/* NULL: application/json */
	char	   *headers;		/* further "Name: value\n" lines, or NULL */
	char	   *body;			/* malloc'd */
	size_t		length;
	bool		transaction;	/* counted by the books, and delayed */
	char	   *ref_id;			/* of a transaction, where it could be read */
	int			delay;			/* ms before it is sent, or TIMER_HELD */
} Answer;

/* in route.c */
extern void answer_free(Answer *answer);

#endif							/* ANSWER_H */
