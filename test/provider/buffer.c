/*
 * buffer.c
 *		Memory that is always there, and text that grows.
 *
 * A test tool without memory has nothing useful left to say: it ends.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buffer.h"

/*
 * Zeroed memory, or the end of the program.
 */
void *
must_alloc(size_t size)
{
	void	   *memory = calloc(1, size ? size : 1);

	if (memory == NULL)
	{
		fputs("provider: out of memory\n", stderr);
		abort();
	}
	return memory;
}

/*
 * A copy of text that the caller frees; NULL stays NULL.
 */
char *
must_copy(const char *text)
{
	size_t		size;
	char	   *copy;

	if (text == NULL)
		return NULL;
	size = strlen(text) + 1;
	copy = must_alloc(size);
	memcpy(copy, text, size);
	return copy;
}

/*
 * Seconds since 1970, for people.
 */
double
now_real(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/*
 * Seconds on a clock that never jumps, for waiting.
 */
double
now_steady(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/*
 * Make room for length more bytes and a NUL.
 */
static void
buffer_reserve(Buffer *buffer, size_t length)
{
	size_t		needed = buffer->length + length + 1;
	size_t		size = buffer->size ? buffer->size : 256;
	char	   *data;

	if (needed <= buffer->size)
		return;
	while (size < needed)
		size *= 2;
	data = realloc(buffer->data, size);
	if (data == NULL)
	{
		fputs("provider: out of memory\n", stderr);
		abort();
	}
	buffer->data = data;
	buffer->size = size;
}

/*
 * Append bytes.
 */
void
buffer_add(Buffer *buffer, const void *bytes, size_t length)
{
	buffer_reserve(buffer, length);
	if (length > 0)
		memcpy(buffer->data + buffer->length, bytes, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
}

/*
 * Append a string as it is.
 */
void
buffer_add_text(Buffer *buffer, const char *text)
{
	buffer_add(buffer, text, strlen(text));
}

/*
 * Append a string as a JSON string, quotes included; NULL becomes null.
 */
void
buffer_add_json(Buffer *buffer, const char *text)
{
	const char *start = text;

	if (text == NULL)
	{
		buffer_add(buffer, "null", 4);
		return;
	}
	buffer_add(buffer, "\"", 1);
	for (; *text; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buffer_add(buffer, start, (size_t) (text - start));
		if (c < 0x20)
			buffer_printf(buffer, "\\u%04x", c);
		else
			buffer_printf(buffer, "\\%c", c);
		start = text + 1;
	}
	buffer_add(buffer, start, (size_t) (text - start));
	buffer_add(buffer, "\"", 1);
}

/*
 * Append formatted text.
 */
void
buffer_printf(Buffer *buffer, const char *format,...)
{
	va_list		arguments;
	va_list		again;
	int			length;

	va_start(arguments, format);
	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length > 0)
	{
		buffer_reserve(buffer, (size_t) length);
		vsnprintf(buffer->data + buffer->length, (size_t) length + 1, format, again);
		buffer->length += (size_t) length;
	}
	va_end(again);
}

/*
 * Take the first length bytes away.
 */
void
buffer_remove_front(Buffer *buffer, size_t length)
{
	if (length == 0)
		return;
	memmove(buffer->data, buffer->data + length, buffer->length - length);
	buffer->length -= length;
	buffer->data[buffer->length] = '\0';
}

/*
 * Give the memory back; the buffer is empty and may be used again.
 */
void
buffer_free(Buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}

/*
 * Append an amount as a JSON number: a whole one without decimals.
 */
void
buffer_add_amount(Buffer *buffer, long long hundredths)
{
	long long	size = llabs(hundredths);

	buffer_printf(buffer, "%s%lld", hundredths < 0 ? "-" : "", size / 100);
	if (size % 100 != 0)
		buffer_printf(buffer, ".%02lld", size % 100);
}
