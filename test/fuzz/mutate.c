/*-------------------------------------------------------------------------
 *
 * mutate.c
 *	  How libFuzzer changes an input: mostly by the tokens of JSON, and now and
 *	  then as it does by itself, by bytes.
 *
 * It makes several changes in a row, and bytes alone nearly always end at "the
 * reply is not JSON".  What is interesting is behind that: values of another
 * type, members twice, escapes that mean what they should not.  For the same
 * reason one change of four begins anew, at an input that has been trusted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fuzz.h"

/* libFuzzer's: its own change of some bytes, in place; the new length. */
extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Called by libFuzzer, if it is there. */
extern size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
									  unsigned int seed);

#define TOKENS_MAX	256
#define TOKEN_ROOM	512			/* for one that is being made */

/* Inputs that have been trusted, some for each state that they led to. */
#define KEPT_OF_STATE	16
#define KEPT_SIZE		1024

static struct
{
	int			count;			/* since the beginning */
	size_t		size[KEPT_OF_STATE];
	uint8_t		data[KEPT_OF_STATE][KEPT_SIZE];
}			kept[DP_REVIEW + 1];

typedef struct Token
{
	size_t		at;
	size_t		len;
} Token;

/* Values and members that mean something. */
static const char *const snippets[] = {
	"\"00\"", "\"02\"", "\"03\"", "\"45\"", "\"49\"", "\"70\"", "\"74\"", "\"A7\"", "0", "null",
	"true", "1e400", "-0", "1e99999", "\"Sukses\"", "\"Gagal\"", "\"Pending\"", "\"Success\"",
	"\"fuzz/1\"", "\"530000000001\"", "\"pln\"", "\"\"", "{}", "[]", "{\"rc\":\"02\"}",
	"\"rc\"", "\"status\"", "\"data\"", "\"ref_id\"", "\"code\"", "\"customer_no\"", "\"desc\"",
	"\"buyer_sku_code\"", "\"price\"", "\"sn\"",
	"1234567890123456789012345678901234567890123456789012345678901234567890"
};

/* Code points at the edges. */
static const uint32 codes[] = {
	0, '"', '\\', 0x7F, 0x80, 0xFF, 0x7FF, 0x800, 0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000,
	0xFFFF, 0x10000, 0x10FFFF
};

/* Remember an input that has been trusted, to begin at it. */
void
fuzz_keep(const uint8_t *data, size_t size, DpState state)
{
	int			i = kept[state].count % KEPT_OF_STATE;

	if (size > KEPT_SIZE)
		return;
	memcpy(kept[state].data[i], data, size);
	kept[state].size[i] = size;
	kept[state].count++;
}

static uint32
pick(uint32 *state, uint32 n)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8) % n;
}

/* Find the strings, numbers and words; with is_key only strings before ':'. */
static int
find_tokens(const uint8_t *data, size_t size, bool is_key, Token *tokens)
{
	int			count = 0;
	size_t		i = FUZZ_HEAD_SIZE;

	while (i < size && count < TOKENS_MAX)
	{
		size_t		begin = i;

		if (data[i] == '"')
		{
			for (i++; i < size && data[i] != '"'; i++)
			{
				if (data[i] == '\\')
					i++;
			}
			i = Min(i + 1, size);
		}
		else
		{
			while (i < size && strchr("{}[]:,\" \t\r\n", data[i]) == NULL)
				i++;
		}
		if (i == begin)
			i++;				/* punctuation */
		else if (!is_key || (i < size && data[begin] == '"' && data[i] == ':'))
			tokens[count++] = (Token) {begin, i - begin};
	}
	return count;
}

/* The length of a member that begins with this key: up to what ends its value. */
static size_t
member_length(const uint8_t *data, size_t size, const Token *key)
{
	int			depth = 0;
	size_t		i = key->at + key->len;

	for (; i < size; i++)
	{
		if (data[i] == '"')
		{
			for (i++; i < size && data[i] != '"'; i++)
			{
				if (data[i] == '\\')
					i++;
			}
		}
		else if (data[i] == '{' || data[i] == '[')
			depth++;
		else if ((data[i] == '}' || data[i] == ']') && --depth < 0)
			break;
		else if (data[i] == ',' && depth == 0)
			break;
	}
	return Min(i, size) - key->at;
}

/* Put bytes in place of others; the new size, or the old if there is no room. */
static size_t
splice(uint8_t *data, size_t size, size_t max_size, size_t at, size_t removed,
	   const void *bytes, size_t len)
{
	if (size - removed + len > max_size)
		return size;
	memmove(data + at + len, data + at + removed, size - at - removed);
	memcpy(data + at, bytes, len);
	return size - removed + len;
}

/* Change a token, or put another in its place. */
static size_t
change_token(uint8_t *data, size_t size, size_t max_size, uint32 *state)
{
	Token		tokens[TOKENS_MAX];
	int			count = find_tokens(data, size, false, tokens);
	char		made[TOKEN_ROOM];
	const char *snippet;
	Token		token;
	Token		other;
	size_t		at;
	uint32		code;

	if (count == 0)
		return 0;
	token = tokens[pick(state, count)];
	other = tokens[pick(state, count)];
	if (token.len > TOKEN_ROOM / 2 || other.len > TOKEN_ROOM)
		return 0;
	switch (pick(state, 8))
	{
		case 0:
		case 1:
		case 2:
			snippet = snippets[pick(state, lengthof(snippets))];
			return splice(data, size, max_size, token.at, token.len, snippet, strlen(snippet));
		case 3:
		case 4:
			memcpy(made, data + other.at, other.len);
			return splice(data, size, max_size, token.at, token.len, made, other.len);
		case 5:					/* what is within its quotes */
			if (token.len <= 2)
				return 0;
			memcpy(made, data + token.at + 1, token.len - 2);
			return splice(data, size, max_size, token.at + 1, token.len - 2, made,
						  LLVMFuzzerMutate((uint8_t *) made, token.len - 2, TOKEN_ROOM / 2));
		default:				/* one of its characters as an escape, or another */
			if (token.len <= 2 || data[token.at] != '"')
				return 0;
			at = token.at + 1 + pick(state, token.len - 2);
			code = pick(state, 4) == 0 ? pick(state, 0x110000) :
				pick(state, 3) == 0 ? codes[pick(state, lengthof(codes))] : data[at];
			if (code < 0x10000)
				snprintf(made, sizeof(made), pick(state, 2) ? "\\u%04x" : "\\u%04X", code);
			else
				snprintf(made, sizeof(made), "\\u%04x\\u%04x",
						 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
			return splice(data, size, max_size, at, 1, made, strlen(made));
	}
}

/* Double a member somewhere, or take it away. */
static size_t
change_member(uint8_t *data, size_t size, size_t max_size, uint32 *state)
{
	Token		keys[TOKENS_MAX];
	int			count = find_tokens(data, size, true, keys);
	Token		key;
	size_t		len;
	uint8_t    *copy;

	if (count == 0)
		return 0;
	key = keys[pick(state, count)];
	len = member_length(data, size, &key);
	if (pick(state, 3) == 0)
	{
		if (key.at + len < size && data[key.at + len] == ',')
			len++;
		else if (key.at > FUZZ_HEAD_SIZE && data[key.at - 1] == ',')
		{
			key.at--;
			len++;
		}
		return splice(data, size, max_size, key.at, len, "", 0);
	}
	copy = malloc(len + 1);
	if (copy == NULL)
		return 0;
	memcpy(copy, data + key.at, len);
	copy[len] = ',';
	size = splice(data, size, max_size, keys[pick(state, count)].at, 0, copy, len + 1);
	free(copy);
	return size;
}

/* Begin at a kept input; the size that data has then. */
static size_t
begin_anew(uint8_t *data, size_t size, size_t max_size, uint32 *state)
{
	int			outcome = pick(state, lengthof(kept));
	int			i;

	if (kept[outcome].count == 0)
		return size;
	i = pick(state, Min(kept[outcome].count, KEPT_OF_STATE));
	if (kept[outcome].size[i] > max_size)
		return size;
	memcpy(data, kept[outcome].data[i], kept[outcome].size[i]);
	return kept[outcome].size[i];
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint32		state = seed;
	size_t		changed = 0;

	if (pick(&state, 4) == 0)
		size = begin_anew(data, size, max_size, &state);
	if (size > FUZZ_HEAD_SIZE && pick(&state, 8) != 0)
		changed = pick(&state, 4) == 0 ?
			change_member(data, size, max_size, &state) :
			change_token(data, size, max_size, &state);
	return changed > 0 ? changed : LLVMFuzzerMutate(data, size, max_size);
}
