/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include <errno.h>
#include <string.h>

#include "berth/clock.h"
#include "berth/err.h"
#include "berth/json.h"
#include "berth/str.h"
#include "model.h"

#define DOMAIN "seed"

#define SESSION_MAX_S  43200             /* as IAM has it */
#define SESSION_S      3600              /* IAM's default */
#define AGENT_PATH     "/v1/credentials" /* that of EKS Pod Identity */
#define LIFETIME_MAX_S 43200

static int text_set(char **text, const char *value, struct err *err)
{
	char *copy = strdup(value);

	if (!copy)
		return err_set_errno(err, ERR_RETRY, DOMAIN, ENOMEM, "token");
	free(*text);
	*text = copy;
	return 0;
}

static struct aws_identity *identity_of(struct aws_model *model, const char *role)
{
	for (unsigned i = 0; i < model->identity_count; i++) {
		if (str_equal(model->identities[i].role, role))
			return &model->identities[i];
	}
	return model->identity_count < AWS_IDENTITIES_MAX ? &model->identities[model->identity_count] : NULL;
}

int aws_identity_set(struct aws_model *model, const struct json_t *item, int64_t wall_us, struct err *err)
{
	int64_t expires_s = 0, max_session_s = SESSION_S;
	struct aws_identity *identity;
	const char *role, *token;

	if (json_get_str(item, DOMAIN, "role_arn", &role, err) < 0 ||
	    json_get_str(item, DOMAIN, "token", &token, err) < 0 ||
	    json_get_int_opt(item, DOMAIN, "expires_in_s", INT32_MIN, INT32_MAX, &expires_s, err) < 0 ||
	    json_get_int_opt(item, DOMAIN, "max_session_s", 1, SESSION_MAX_S, &max_session_s, err) < 0)
		return -1;
	identity = identity_of(model, role);
	if (!identity)
		return err_set(err, ERR_EXHAUSTED, DOMAIN, "more than %d web identities", AWS_IDENTITIES_MAX);
	if (text_set(&identity->token, token, err) < 0)
		return -1;
	if (str_copy(identity->role, sizeof(identity->role), role) < 0) {
		free(identity->token);
		*identity = (struct aws_identity){ 0 };
		return err_set(err, ERR_PROTOCOL, DOMAIN, "role_arn is longer than %d bytes", AWS_TEXT_LEN - 1);
	}
	identity->expiry_us = expires_s ? wall_us + expires_s * USEC_PER_SEC : 0;
	identity->max_session_s = max_session_s;
	if (identity == &model->identities[model->identity_count])
		model->identity_count++;
	return 0;
}

int aws_agent_set(struct aws_model *model, const struct json_t *item, struct err *err)
{
	const char *path = model->agent_path[0] ? model->agent_path : AGENT_PATH, *token = NULL;
	int64_t lifetime_s = model->agent_lifetime_us / USEC_PER_SEC;
	char kept[AWS_TEXT_LEN];

	if (json_get_str_opt(item, DOMAIN, "path", &path, err) < 0 ||
	    json_get_str_opt(item, DOMAIN, "authorization", &token, err) < 0 ||
	    json_get_int_opt(item, DOMAIN, "lifetime_s", 1, LIFETIME_MAX_S, &lifetime_s, err) < 0)
		return -1;
	if (path[0] != '/' || str_copy(kept, sizeof(kept), path) < 0)
		return err_set(err, ERR_PROTOCOL, DOMAIN, "path: not one, or too long");
	if (token && text_set(&model->agent_token, token, err) < 0)
		return -1;
	memcpy(model->agent_path, kept, sizeof(kept));
	model->agent_lifetime_us = lifetime_s * USEC_PER_SEC;
	return 0;
}
