/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the order in which STS says no: version and action, what the model of the request demands of each parameter, the
 * role and who it trusts, the token. Limits and codes are those of the service model (botocore's data/sts/2011-06-15).
 */
#include "sts.h"

#include <stdio.h>
#include <string.h>

#include "berth/clock.h"
#include "model.h"
#include "query.h"
#include "xml.h"

#define ACTION "AssumeRoleWithWebIdentity"

#define SESSION_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-"
#define DURATION_MIN  900   /* s */
#define DURATION_MAX  43200 /* s */
#define DURATION      3600  /* s, when the request does not say */

bool sts_is_call(const struct query *query)
{
	const char *version = query_get(query, "Version");

	return version && str_equal(version, STS_VERSION);
}

const char *sts_action_find(const char *name)
{
	return str_equal(name, ACTION) ? ACTION : NULL;
}

/* ---- what is wrong with a parameter ---- */

static int invalid(struct ec2_err *err, const char *value, const char *name, const char *wanted)
{
	return ec2_refuse(err, 400, "ValidationError",
			  "1 validation error detected: Value %s%.64s%s at '%s' failed to satisfy constraint: Member "
			  "must %s",
			  value ? "'" : "", value ? value : "null", value ? "'" : "", name, wanted);
}

struct rule {
	const char *param, *name; /* as the request and as the message call it */
	size_t min, max;          /* bytes */
	const char *chars;        /* NULL = any */
};

static const struct rule rules[] = {
	{ "RoleArn", "roleArn", 20, 2048, NULL },
	{ "RoleSessionName", "roleSessionName", 2, 64, SESSION_CHARS },
	{ "WebIdentityToken", "webIdentityToken", 4, 20000, NULL },
};

static int check_rule(const struct rule *rule, const struct query *query, struct ec2_err *err)
{
	const char *value = query_get(query, rule->param);
	char wanted[128];
	size_t len = value ? strlen(value) : 0;

	if (!value)
		return invalid(err, NULL, rule->name, "not be null");
	(void)snprintf(wanted, sizeof(wanted), "have length %s than or equal to %zu",
		       len < rule->min ? "greater" : "less", len < rule->min ? rule->min : rule->max);
	if (len < rule->min || len > rule->max)
		return invalid(err, value, rule->name, wanted);
	if (rule->chars && strspn(value, rule->chars) != len)
		return invalid(err, value, rule->name, "satisfy regular expression pattern: [\\w+=,.@-]*");
	return 0;
}

static int check_limits(const struct query *query, uint64_t *ret_s, struct ec2_err *err)
{
	const char *seconds = query_get(query, "DurationSeconds");

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (check_rule(&rules[i], query, err) < 0)
			return -1;
	}
	*ret_s = DURATION;
	if (seconds && str_u64(seconds, DURATION_MIN, DURATION_MAX, ret_s) < 0)
		return invalid(err, seconds, "durationSeconds", "have value between 900 and 43200");
	return 0;
}

/* Whose token is it? One that is nobody's cannot be validated; one of another role is not trusted by this one. */
static int check_token(const struct aws_model *model, const struct query *query, uint64_t session_s, int64_t wall_us,
		       struct ec2_err *err)
{
	const char *role = query_get(query, "RoleArn"), *token = query_get(query, "WebIdentityToken");
	const struct aws_identity *known = NULL, *trusted = NULL;

	for (unsigned i = 0; i < model->identity_count; i++) {
		if (!str_equal(model->identities[i].token, token))
			continue;
		known = &model->identities[i];
		if (str_equal(known->role, role))
			trusted = known;
	}
	if (!known)
		return ec2_refuse(err, 400, "InvalidIdentityToken",
				  "The web identity token that was passed could not be validated by AWS.");
	if (known->expiry_us && known->expiry_us <= wall_us)
		return ec2_refuse(err, 400, "ExpiredTokenException",
				  "Token expired: current date/time must be before the expiration date/time");
	if (!trusted)
		return ec2_refuse(err, 403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity");
	if ((int64_t)session_s > trusted->max_session_s)
		return ec2_refuse(err, 400, "ValidationError",
				  "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
	return 0;
}

static int check(const struct aws_model *model, const struct query *query, int64_t wall_us, uint64_t *ret_s,
		 struct ec2_err *err)
{
	const char *action = query_get(query, "Action");

	if (!action || !sts_action_find(action))
		return ec2_refuse(err, 400, "InvalidAction", "Could not find operation %.64s for version " STS_VERSION,
				  action ? action : "");
	if (check_limits(query, ret_s, err) < 0)
		return -1;
	return check_token(model, query, *ret_s, wall_us, err);
}

/* ---- answers ---- */

static void request_id(struct aws_model *model, char ret[static 37])
{
	prng_chars(&model->prng, "0123456789abcdef", 16, ret, 36);
	ret[8] = ret[13] = ret[18] = ret[23] = '-';
}

static void put_user(struct xml *xml, const struct aws_model *model, const char *role, const char *session)
{
	const char *name = strrchr(role, '/');

	xml_open(xml, "AssumedRoleUser", NULL);
	xml_textf(xml, "Arn", "arn:aws:sts::%s:assumed-role/%s/%s", model->account, name ? name + 1 : role, session);
	xml_textf(xml, "AssumedRoleId", "AROAMOCKMOCKMOCKMOCK1:%s", session);
	xml_close(xml, "AssumedRoleUser");
}

static void put_creds(struct xml *xml, const struct aws_creds *creds)
{
	char expiry[32];

	time_text(creds->expiry_us, true, expiry);
	xml_open(xml, "Credentials", NULL);
	xml_text(xml, "AccessKeyId", creds->access_key);
	xml_text(xml, "SecretAccessKey", creds->secret);
	xml_text(xml, "SessionToken", creds->token);
	xml_text(xml, "Expiration", expiry);
	xml_close(xml, "Credentials");
}

static void put_answer(struct aws_model *model, const struct query *query, const struct aws_creds *creds,
		       struct strbuf *out)
{
	struct xml xml = { .out = out };
	char id[37];

	request_id(model, id);
	xml_open(&xml, ACTION "Response", "xmlns=\"" STS_XMLNS "\"");
	xml_open(&xml, ACTION "Result", NULL);
	xml_text(&xml, "Audience", "sts.amazonaws.com");
	put_user(&xml, model, query_get(query, "RoleArn"), query_get(query, "RoleSessionName"));
	xml_text(&xml, "Provider", "arn:aws:iam::111122223333:oidc-provider/oidc.example");
	put_creds(&xml, creds);
	xml_text(&xml, "SubjectFromWebIdentityToken", "system:serviceaccount:kube-system:berth");
	xml_close(&xml, ACTION "Result");
	xml_open(&xml, "ResponseMetadata", NULL);
	xml_text(&xml, "RequestId", id);
	xml_close(&xml, "ResponseMetadata");
	xml_close(&xml, ACTION "Response");
}

void sts_error_body(struct aws_model *model, const struct ec2_err *err, struct strbuf *out)
{
	struct xml xml = { .out = out };
	char id[37];

	request_id(model, id);
	xml_open(&xml, "ErrorResponse", "xmlns=\"" STS_XMLNS "\"");
	xml_open(&xml, "Error", NULL);
	xml_text(&xml, "Type", err->status < 500 ? "Sender" : "Receiver");
	xml_text(&xml, "Code", err->code);
	xml_text(&xml, "Message", err->message);
	xml_close(&xml, "Error");
	xml_text(&xml, "RequestId", id);
	xml_close(&xml, "ErrorResponse");
}

unsigned sts_execute(struct aws_model *model, const struct query *query, int64_t wall_us, struct strbuf *out,
		     struct ec2_err *ret_err)
{
	const struct aws_creds *creds;
	uint64_t session_s = 0;

	*ret_err = (struct ec2_err){ 0 };
	if (check(model, query, wall_us, &session_s, ret_err) == 0) {
		creds = aws_creds_mint(model, (int64_t)session_s * USEC_PER_SEC, wall_us);
		if (creds) {
			(void)str_copy(model->web_key, sizeof(model->web_key), creds->access_key);
			put_answer(model, query, creds, out);
			return 200;
		}
		(void)ec2_refuse(ret_err, 500, "InternalFailure", "An internal error has occurred");
	}
	sts_error_body(model, ret_err, out);
	return ret_err->status;
}
