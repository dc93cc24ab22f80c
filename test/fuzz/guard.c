/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Memory with guards around it.
 *
 * PostgreSQL's allocator hides a small overrun.  Here each piece has known
 * bytes before and behind it, which are looked at after every run; a read
 * beyond the reply's own bytes ends at an unmapped page instead (fuzz.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fuzz.h"

#define GUARD_SIZE	16
#define GUARD_BYTE	0xA5

typedef struct Piece
{
	struct Piece *next;
	size_t		size;
	unsigned char before[GUARD_SIZE];
	/* the bytes handed out, then GUARD_SIZE more */
} Piece;

/* All of this run; their memory goes with the run's context. */
static Piece *pieces;

extern void *fuzz_palloc(Size size);
extern void *fuzz_repalloc(void *pointer, Size size);
extern void fuzz_pfree(void *pointer);
extern char *fuzz_pstrdup(const char *text);
extern char *fuzz_pnstrdup(const char *text, Size len);

void *
fuzz_palloc(Size size)
{
	Piece	   *piece = palloc(sizeof(Piece) + size + GUARD_SIZE);
	char	   *bytes = (char *) (piece + 1);

	piece->size = size;
	memset(piece->before, GUARD_BYTE, GUARD_SIZE);
	memset(bytes, 0x7F, size);
	memset(bytes + size, GUARD_BYTE, GUARD_SIZE);
	piece->next = pieces;
	pieces = piece;
	return bytes;
}

/* The link that leads to a piece; what it points to is NULL if there is none. */
static Piece **
find_piece(const void *pointer)
{
	Piece	  **link = &pieces;

	while (*link != NULL && (const void *) (*link + 1) != pointer)
		link = &(*link)->next;
	return link;
}

static void
check_piece(const Piece *piece)
{
	const unsigned char *behind = (const unsigned char *) (piece + 1) + piece->size;

	for (int i = 0; i < GUARD_SIZE; i++)
	{
		if (piece->before[i] != GUARD_BYTE)
			fuzz_found("bytes before an allocation of %zu were written", piece->size);
		if (behind[i] != GUARD_BYTE)
			fuzz_found("bytes behind an allocation of %zu were written", piece->size);
	}
}

void
fuzz_pfree(void *pointer)
{
	Piece	  **link = find_piece(pointer);
	Piece	   *piece = *link;

	if (piece == NULL)
	{
		pfree(pointer);			/* the server's own */
		return;
	}
	check_piece(piece);
	*link = piece->next;
	memset(pointer, 0x7F, piece->size);
	pfree(piece);
}

void *
fuzz_repalloc(void *pointer, Size size)
{
	Piece	   *piece = *find_piece(pointer);
	void	   *larger;

	if (piece == NULL)
		return repalloc(pointer, size);
	larger = fuzz_palloc(size);
	memcpy(larger, pointer, Min(size, piece->size));
	fuzz_pfree(pointer);
	return larger;
}

char *
fuzz_pstrdup(const char *text)
{
	return fuzz_pnstrdup(text, strlen(text));
}

char *
fuzz_pnstrdup(const char *text, Size len)
{
	char	   *copy;

	len = strnlen(text, len);
	copy = fuzz_palloc(len + 1);
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

/* Forget the pieces of the last run; its context has been reset. */
void
fuzz_guard_reset(void)
{
	pieces = NULL;
}

/* Look at all the guards. */
void
fuzz_guard_check(void)
{
	for (Piece *piece = pieces; piece != NULL; piece = piece->next)
		check_piece(piece);
}

/*
 * Is this a terminated string that the run has allocated, by the tested code or
 * by the server?
 */
bool
fuzz_guard_is_string(char *text, MemoryContext context)
{
	Piece	   *piece = *find_piece(text);

	if (piece != NULL)
		return strnlen(text, piece->size) < piece->size;
	return GetMemoryChunkContext(text) == context &&
		strnlen(text, GetMemoryChunkSpace(text)) < GetMemoryChunkSpace(text);
}
