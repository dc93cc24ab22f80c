/*
 * script.c
 *		Replies that a test dictates, by ref_id.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "script.h"

static pthread_mutex_t script_mutex = PTHREAD_MUTEX_INITIALIZER;
static Script *scripts;
static _Atomic int script_count;	/* spares the usual request the mutex */

/*
 * Free a script that was not added.
 */
void
script_free(Script *script)
{
	free(script->ref_id);
	free(script->content_type);
	free(script->headers);
	free(script->body);
	free(script);
}

/*
 * Add a script, which is ours from now on; it takes the place of the one for
 * the same ref_id and command.
 */
void
script_add(Script *script)
{
	Script	  **place;

	pthread_mutex_lock(&script_mutex);
	for (place = &scripts; *place; place = &(*place)->next)
	{
		Script	   *old = *place;

		if (old->command == script->command && strcmp(old->ref_id, script->ref_id) == 0)
		{
			*place = old->next;
			script_free(old);
			script_count--;
			break;
		}
	}
	script->next = scripts;
	scripts = script;
	script_count++;
	pthread_mutex_unlock(&script_mutex);
}

/*
 * Forget all scripts.
 */
void
script_clear(void)
{
	pthread_mutex_lock(&script_mutex);
	while (scripts)
	{
		Script	   *script = scripts;

		scripts = script->next;
		script_free(script);
	}
	script_count = 0;
	pthread_mutex_unlock(&script_mutex);
}

/*
 * Does a script answer this command?
 */
static bool
script_matches(const Script *script, const char *ref_id, Command command)
{
	if (strcmp(script->ref_id, ref_id) != 0)
		return false;
	if (script->command == COMMAND_NONE)
		return command == COMMAND_PAY || command == COMMAND_INQUIRE;
	return script->command == command;
}

/*
 * Fill the answer in when there is a script for it, and say whether the
 * payment is to be booked.
 */
bool
script_answer(const char *ref_id, Command command, Answer *answer, bool *book)
{
	const Script *script;

	if (script_count == 0)
		return false;
	pthread_mutex_lock(&script_mutex);
	for (script = scripts; script; script = script->next)
	{
		if (script_matches(script, ref_id, command))
			break;
	}
	if (script)
	{
		answer->http_status = script->http_status;
		answer->content_type = must_copy(script->content_type);
		answer->headers = must_copy(script->headers);
		answer->body = must_alloc(script->length + 1);
		memcpy(answer->body, script->body, script->length);
		answer->length = script->length;
		if (script->delay >= 0)
			answer->delay = script->delay;
		*book = script->book;
	}
	pthread_mutex_unlock(&script_mutex);
	return script != NULL;
}
