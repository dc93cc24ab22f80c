/*
 * buffer.h
 *		Memory that is always there, and text that grows.
 */
#ifndef BUFFER_H
#define BUFFER_H

#include <stddef.h>

/* Bytes that grow; data is always followed by a NUL once anything was added */
typedef struct Buffer
{
	char	   *data;
	size_t		length;
	size_t		size;
} Buffer;

extern void *must_alloc(size_t size);
extern char *must_copy(const char *text);
extern double now_real(void);
extern double now_steady(void);

extern void buffer_add(Buffer *buffer, const void *bytes, size_t length);
extern void buffer_add_text(Buffer *buffer, const char *text);
extern void buffer_add_amount(Buffer *buffer, long long hundredths);
extern void buffer_add_json(Buffer *buffer, const char *text);
extern void buffer_printf(Buffer *buffer, const char *format,...)
			__attribute__((format(printf, 2, 3)));
extern void buffer_remove_front(Buffer *buffer, size_t length);
extern void buffer_free(Buffer *buffer);

#endif							/* BUFFER_H */
