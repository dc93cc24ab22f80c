/*
 * script.h
 *		Replies that a test dictates.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stdbool.h>

#include "answer.h"
#include "books.h"

/* A dictated reply; all pointers are the script's own */
typedef struct Script
{
	struct Script *next;
	char	   *ref_id;
	Command		command;		/* COMMAND_NONE: inquiry and payment */
	bool		book;
	int			http_status;
	char	   *content_type;
	char	   *headers;
	char	   *body;
	size_t		length;
	int			delay;			/* ms; -1: the common delay */
} Script;

extern void script_add(Script *script);
extern void script_clear(void);
extern void script_free(Script *script);
extern bool script_answer(const char *ref_id, Command command, Answer *answer, bool *book);

#endif							/* SCRIPT_H */
