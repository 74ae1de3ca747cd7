/* SPDX-License-Identifier: Apache-2.0 */
/* Words and statuses of refusals: the service model of EKS Auth (botocore's data/eks-auth), which the agent passes on. */
#include "agent.h"

#include <jansson.h>
#include <string.h>

#include "../httpd.h"
#include "berth/json.h"
#include "model.h"
#include "xml.h"

bool agent_is_call(const struct aws_model *model, const struct httpd_request *request)
{
	return model->agent_path[0] && str_equal(request->path, model->agent_path);
}

static void put_json(json_t *json, struct httpd_reply *reply)
{
	char *text = json ? json_print(json) : NULL;

	strbuf_clear(&reply->body);
	strbuf_add(&reply->body, text ? text : "{}");
	httpd_reply_header(reply, "Content-Type", "application/json");
	free(text);
	json_decref(json);
}

void agent_error(const struct ec2_err *err, struct httpd_reply *reply)
{
	reply->status = err->status;
	put_json(json_pack("{s:s, s:s}", "code", err->code, "message", err->message), reply);
}

static int check(const struct aws_model *model, const struct httpd_request *request, struct ec2_err *err)
{
	const char *token = httpd_header(request, "Authorization");

	if (!str_equal(request->method, "GET"))
		return ec2_refuse(err, 405, "InvalidRequestException", "only GET");
	if (!model->agent_token)
		return 0;
	if (!token || !*token)
		return ec2_refuse(err, 400, "InvalidRequestException", "no Authorization header");
	if (!str_equal(token, model->agent_token))
		return ec2_refuse(err, 400, "InvalidTokenException",
				  "The specified Kubernetes service account token is invalid.");
	return 0;
}

void agent_serve(struct aws_model *model, const struct httpd_request *request, int64_t wall_us,
		 struct httpd_reply *reply)
{
	const struct aws_creds *creds;
	struct ec2_err err = { 0 };
	char expiry[32];

	if (check(model, request, &err) < 0) {
		agent_error(&err, reply);
		return;
	}
	creds = aws_creds_agent(model, wall_us);
	if (!creds) {
		(void)ec2_refuse(&err, 500, "InternalServerException", "An internal error has occurred");
		agent_error(&err, reply);
		return;
	}
	time_text(creds->expiry_us, true, expiry);
	put_json(json_pack("{s:s, s:s, s:s, s:s, s:s}", "AccessKeyId", creds->access_key, "SecretAccessKey",
			   creds->secret, "Token", creds->token, "Expiration", expiry, "AccountId", model->account),
		 reply);
}
