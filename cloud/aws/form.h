/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of EC2 and STS: form bodies. A form without memory is marked as failed and is checked once, before it is sent. */
#ifndef BERTH_AWS_FORM_H
#define BERTH_AWS_FORM_H

struct strbuf;

/** ec2_form_begin() - "Action=...&Version=...". */
void ec2_form_begin(struct strbuf *form, const char *action);
/** sts_form_begin() - the same with the version of STS; what is added is the same for both. */
void sts_form_begin(struct strbuf *form, const char *action);
/** ec2_form_add() - "&Name=value", the value percent-encoded. */
void ec2_form_add(struct strbuf *form, const char *name, const char *value);
/** ec2_form_add_uint() - the same for a number. */
void ec2_form_add_uint(struct strbuf *form, const char *name, unsigned value);

#endif
