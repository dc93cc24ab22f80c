/*-------------------------------------------------------------------------
 *
 * endpoint.c
 *	  Where each call goes: to the server's endpoint, or for what is not about a
 *	  bill to a neighbour of it, unless an option names another place.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "endpoint.h"
#include "problem.h"

/* What the endpoint's path ends in, and its neighbours' do not. */
#define TRANSACTION	"/transaction"

/*
 * The address of a call, in the current memory context or the account's; NULL,
 * with a problem, where it cannot be told from the endpoint's.
 */
const char *
dp_endpoint(const DpAccount *account, DpCommand command, DpProblem *problem)
{
	const char *given;
	const char *option;
	const char *path;
	int			stem = (int) strlen(account->endpoint) - (int) strlen(TRANSACTION);

	switch (command)
	{
		case DP_BALANCE:
			given = account->balance_endpoint;
			option = "balance_endpoint";
			path = "/cek-saldo";
			break;
		case DP_DEPOSIT:
			given = account->deposit_endpoint;
			option = "deposit_endpoint";
			path = "/deposit";
			break;
		case DP_PRICE_LIST:
			given = account->price_list_endpoint;
			option = "price_list_endpoint";
			path = "/price-list";
			break;
		default:
			return account->endpoint;
	}
	if (given != NULL)
		return given;
	if (stem > 0 && strcmp(account->endpoint + stem, TRANSACTION) == 0)
		return psprintf("%.*s%s", stem, account->endpoint, path);
	dp_problem_set(problem, ERRCODE_FDW_INVALID_OPTION_NAME,
				   psprintf("the server has no %s", option));
	dp_problem_detail(problem, "It is derived from an endpoint that ends in \"%s\", and this one does not.",
					  TRANSACTION);
	dp_problem_hint(problem, psprintf("Set it with ALTER SERVER ... OPTIONS (ADD %s '...').", option));
	return NULL;
}
