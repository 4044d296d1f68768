/* The tokenizer as a whole: BPE, added tokens, configuration, refusals, memory. */
#include "tokens.h"

/* characters only, as the project's own task writes it */
static const char tok_chars[] =
    "{'version':'1.0','added_tokens':["
    "{'id':0,'content':'<s>','single_word':false,'lstrip':false,'rstrip':false,'normalized':false,'special':true},"
    "{'id':1,'content':'</s>','single_word':false,'lstrip':false,'rstrip':false,'normalized':false,'special':true}],"
    "'normalizer':null,'pre_tokenizer':null,'post_processor':{'type':'TemplateProcessing','single':["
    "{'SpecialToken':{'id':'<s>','type_id':0}},{'Sequence':{'id':'A','type_id':0}},"
    "{'SpecialToken':{'id':'</s>','type_id':0}}],"
    "'pair':[],'special_tokens':{'<s>':{'id':'<s>','ids':[0],'tokens':['<s>']},"
    "'</s>':{'id':'</s>','ids':[1],'tokens':['</s>']}}},"
    "'decoder':{'type':'Fuse'},'model':{'type':'BPE','vocab':{'<s>':0,'</s>':1,'1':2,'2':3,'+':4,'=':5,';':6,'é':9},"
    "'merges':[]}}";

static void test_characters(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tokenizer *tok = tokens_load(ctx, tok_chars);
    assert_int_equal(pf_tokenizer_size(tok), 10);
    assert_string_equal(tokens_ids(ctx, tok, "1+2=12;", 0), "2 4 3 5 2 3 6");
    assert_string_equal(tokens_ids(ctx, tok, "1+2", PFI_TOK_SPECIAL), "0 2 4 3 1");
    assert_string_equal(tokens_ids(ctx, tok, "", PFI_TOK_SPECIAL), "0 1");
    assert_string_equal(tokens_ids(ctx, tok, "", 0), "");
    assert_string_equal(tokens_ids(ctx, tok, "1é?2", 0), "2 9 3"); /* what has no token is dropped */
    assert_string_equal(tokens_ids(ctx, tok, "1</s>2", 0), "2 1 3");
    assert_string_equal(tokens_ids(ctx, tok, "1</s>2", PFI_TOK_LITERAL), "2 3");
    const int32_t ids[] = {0, 2, 4, 9, 1};
    assert_string_equal(tokens_text(ctx, tok, ids, 5, false), "<s>1+é</s>");
    assert_string_equal(tokens_text(ctx, tok, ids, 5, true), "1+é");
    assert_string_equal(tokens_text(ctx, tok, ids, 0, true), "");
    char *text;
    size_t len;
    const int32_t none[] = {7};
    support_fails(ctx, pf_tokenizer_decode(tok, none, 1, false, &text, &len), PF_RANGE, "no token has the id 7");
    assert_null(text);
    int32_t *out;
    support_fails(ctx, pf_tokenizer_encode(tok, "1\xFF", 2, false, &out, &len), PF_FORMAT, "byte 2 of the text (0xFF)");
    assert_null(out);
    assert_int_equal(pf_tokenizer_id(tok, "="), 5);
    assert_int_equal(pf_tokenizer_id(tok, "=="), -1);
    assert_string_equal(pf_tokenizer_token(tok, 9), "é");
    assert_null(pf_tokenizer_token(tok, 7));
    assert_null(pf_tokenizer_token(tok, -1));
    assert_null(pf_tokenizer_token(tok, 10));
    assert_true(pfi_tokenizer_special(tok, 1));
    assert_false(pfi_tokenizer_special(tok, 2));
    assert_int_equal(pf_tokenizer_bos(tok), -1);
    pf_tokenizer_free(pf_tokenizer_retain(tok));
    pf_tokenizer_free(tok);
    support_close(ctx);
}

/* ---- BPE against a plain twin: look for the best pair again and again ---- */

static const char *const bpe_tokens[] = {"a",   "b",   "c",   "aa",   "ab",   "bc", "aab",
                                         "abc", "aaa", "cab", "bcab", "aaaa", "ca"};
static const char *const bpe_merges[][2] = {{"a", "b"},   {"b", "c"},   {"a", "a"},  {"aa", "b"},
                                            {"ab", "c"},  {"aa", "a"},  {"c", "ab"}, {"a", "bc"},
                                            {"bc", "ab"}, {"aa", "aa"}, {"c", "a"}};

static int bpe_id(const char *s) {
    for (int i = 0; i < PFI_COUNT(bpe_tokens); i++)
        if (strcmp(bpe_tokens[i], s) == 0) return i;
    return -1;
}

static int bpe_twin(const char *word, int *out) {
    int n = 0;
    for (; *word; word++) out[n++] = *word - 'a';
    for (;;) {
        int best = PFI_COUNT(bpe_merges), at = -1;
        for (int i = 0; i + 1 < n; i++) {
            for (int r = 0; r < best; r++) {
                if (out[i] == bpe_id(bpe_merges[r][0]) && out[i + 1] == bpe_id(bpe_merges[r][1])) {
                    best = r;
                    at = i;
                }
            }
        }
        if (at < 0) return n;
        char joint[16];
        snprintf(joint, sizeof joint, "%s%s", bpe_merges[best][0], bpe_merges[best][1]);
        out[at] = bpe_id(joint);
        memmove(out + at + 1, out + at + 2, (size_t)(n - at - 2) * sizeof *out);
        n--;
    }
}

static void test_bpe(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_buf b = {0};
    support_ok(ctx, pfi_buf_str(ctx, &b, "{'decoder':{'type':'Fuse'},'model':{'vocab':{"));
    for (int i = 0; i < PFI_COUNT(bpe_tokens); i++)
        support_ok(ctx, pfi_buf_fmt(ctx, &b, "%s'%s':%d", i ? "," : "", bpe_tokens[i], i));
    support_ok(ctx, pfi_buf_str(ctx, &b, "},'merges':["));
    for (int i = 0; i < PFI_COUNT(bpe_merges); i++)
        support_ok(ctx, pfi_buf_fmt(ctx, &b, i % 2 ? "%s'%s %s'" : "%s['%s','%s']", i ? "," : "", bpe_merges[i][0],
                                    bpe_merges[i][1]));
    support_ok(ctx, pfi_buf_str(ctx, &b, "]}}"));
    pf_tokenizer *tok = tokens_load(ctx, b.data);
    for (uint64_t k = 0; k < 3000; k++) {
        char word[64];
        int want[64], len = (int)(k % 60) + 1;
        for (int i = 0; i < len; i++) word[i] = "aaabbc"[(int)(6 * pfi_random_uniform(7, k, (uint64_t)i))];
        word[len] = 0;
        int n = bpe_twin(word, want);
        for (int again = 0; again < 2; again++) { /* the second time out of the cache */
            int32_t *ids;
            size_t got;
            support_ok(ctx, pf_tokenizer_encode(tok, word, (size_t)len, false, &ids, &got));
            assert_int_equal(got, n);
            for (int i = 0; i < n; i++)
                if (ids[i] != want[i]) fail_msg("%s: id %d is %d, expected %d", word, i, ids[i], want[i]);
            assert_string_equal(tokens_text(ctx, tok, ids, got, false), word);
            pfi_free(ctx, ids);
        }
    }
    pfi_buf_free(ctx, &b);
    pf_tokenizer_free(tok);
    support_close(ctx);
}

/* ---- very long words ---- */

/* steps that one word of n bytes takes; 32 tokens are a, aa, aaaa ... and the pairs of digits */
static uint64_t long_steps(pf_ctx *ctx, pf_tokenizer *tok, size_t n, int kind) {
    char *word = pfi_alloc(ctx, n);
    int32_t *ids;
    size_t got;
    for (size_t i = 0; i < n; i++)
        word[i] = kind == 0 ? 'a' : (char)('0' + (int)(10 * pfi_random_uniform(11, n, (uint64_t)i * (kind == 1))));
    uint64_t before = pfi_bpe_steps(&tok->bpe);
    support_ok(ctx, pf_tokenizer_encode(tok, word, n, false, &ids, &got));
    assert_true(got > 0 && got < n);
    pfi_free(ctx, ids);
    pfi_free(ctx, word);
    return pfi_bpe_steps(&tok->bpe) - before;
}

/* a megabyte without a space costs n log n: no more than 3 moves a byte and level of the heap */
static void test_long(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_buf vocab = {0}, merges = {0};
    char run[600];
    for (int len = 1; len <= 512; len *= 2) {
        memset(run, 'a', (size_t)len);
        run[len] = 0;
        support_ok(ctx, pfi_buf_fmt(ctx, &vocab, "\"%s\":%d,", run, len));
        if (len > 1) support_ok(ctx, pfi_buf_fmt(ctx, &merges, "[\"%.*s\",\"%.*s\"],", len / 2, run, len / 2, run));
    }
    for (int i = 0; i < 110; i++) {
        if (i < 10) support_ok(ctx, pfi_buf_fmt(ctx, &vocab, "\"%d\":%d,", i, 1000 + i));
        if (i < 10) continue;
        support_ok(ctx, pfi_buf_fmt(ctx, &vocab, "\"%02d\":%d,", i - 10, 1000 + i));
        support_ok(ctx, pfi_buf_fmt(ctx, &merges, "[\"%d\",\"%d\"],", (i - 10) / 10, i % 10));
    }
    char *json = pfi_format(ctx, "{\"model\":{\"type\":\"BPE\",\"vocab\":{%s\"end\":3},\"merges\":[%.*s]}}", vocab.data,
                            (int)merges.len - 1, merges.data);
    pf_tokenizer *tok;
    support_ok(ctx, pf_tokenizer_load(ctx, support_write("long.json", json, strlen(json)), &tok));
    for (int kind = 0; kind < 3; kind++) {
        uint64_t steps = long_steps(ctx, tok, 1 << 20, kind);
        if (steps > 3 * 20 * (1 << 20)) fail_msg("kind %d: %llu steps", kind, (unsigned long long)steps);
    }
    pf_tokenizer_free(tok);
    pfi_free(ctx, json);
    pfi_buf_free(ctx, &vocab);
    pfi_buf_free(ctx, &merges);
    support_close(ctx);
}

/* unknown characters: bytes if all are there, else one unk each or one for a run */
static void test_unknown(void **state) {
    (void)state;
    static const struct {
        const char *flags, *text, *want;
    } cases[] = {
        {"'unk_token':'u'", "aééa", "0 1 1 0"},
        {"'unk_token':'u','fuse_unk':true", "aééaé", "0 1 0 1"},
        {"'unk_token':'u','byte_fallback':true", "aéa", "0 2 3 0"},
        {"'unk_token':'u','byte_fallback':true", "aèa", "0 1 0"}, /* <0xA8> is not there */
        {"'byte_fallback':true", "aèéa", "0 2 3 0"},
        {"'fuse_unk':true", "aééa", "0 0"},
        {"'ignore_merges':true", "ab", "5"},
        {"'ignore_merges':false", "ab", "0 4"},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        char json[600];
        snprintf(json, sizeof json,
                 "{'model':{'type':'BPE','vocab':{'a':0,'u':1,'<0xC3>':2,'<0xA9>':3,'b':4,'ab':5},'merges':[],%s}}",
                 cases[i].flags);
        pf_tokenizer *tok = tokens_load(ctx, json);
        assert_string_equal(tokens_ids(ctx, tok, cases[i].text, 0), cases[i].want);
        pf_tokenizer_free(tok);
    }
    support_close(ctx);
}

/* words of a "▁" vocabulary are merged apart, unless a token reaches from one into the next */
static void test_words(void **state) {
    (void)state;
    static const char form[] = "{'normalizer':{'type':'Replace','pattern':{'String':' '},'content':'▁'},'model':{"
                               "'vocab':{'a':0,'b':1,'▁':2,'▁b':3,'a▁':4,'▁▁':5},'merges':[%s'▁ ▁','▁ b']}}";
    pf_ctx *ctx = support_open();
    for (int crossing = 0; crossing < 2; crossing++) {
        char json[600];
        snprintf(json, sizeof json, form, crossing ? "'a ▁'," : "");
        pf_tokenizer *tok = tokens_load(ctx, json);
        assert_int_equal(tok->bpe.cut, !crossing);
        assert_string_equal(tokens_ids(ctx, tok, "aa b  b", 0), crossing ? "0 4 1 5 1" : "0 0 3 5 1");
        assert_string_equal(tokens_ids(ctx, tok, "b a ", 0), crossing ? "1 2 4" : "1 2 0 2");
        pf_tokenizer_free(tok);
    }
    support_close(ctx);
}

/* ---- added tokens ---- */

/* vocabulary: space 0, a 1, b 2, ▁ 3; the added token(s) from 10 on */
static pf_tokenizer *added_load(pf_ctx *ctx, const char *tokens, const char *normalizer) {
    char json[1500];
    snprintf(json, sizeof json,
             "{'added_tokens':[%s],'normalizer':%s,'model':{'vocab':{' ':0,'a':1,'b':2,'▁':3,'X':4},'merges':[]}}",
             tokens, normalizer);
    return tokens_load(ctx, json);
}

static void test_added(void **state) {
    (void)state;
    static const char prepend[] = "{'type':'Sequence','normalizers':[{'type':'Prepend','prepend':'▁'},"
                                  "{'type':'Replace','pattern':{'String':' '},'content':'▁'}]}";
    static const struct {
        const char *tokens, *normalizer, *text, *want;
    } cases[] = {
        {"{'id':5,'content':'X','special':true}", "null", "aXb XX", "1 4 2 0 4 4"}, /* keeps the vocabulary's id */
        {"{'id':5,'content':'<x>','special':true}", "null", "a<x>b <x>", "1 5 2 0 5"},
        {"{'id':5,'content':'<x>','lstrip':true}", "null", "a \t<x> b", "1 5 0 2"},
        {"{'id':5,'content':'<x>','rstrip':true}", "null", "a <x> \n b", "1 0 5 2"},
        {"{'id':5,'content':'<x>','lstrip':true,'rstrip':true}", "null", "a <x> <x> b", "1 5 5 2"},
        {"{'id':5,'content':'ab','single_word':true}", "null", "ab aab abé (ab)", "5 0 1 1 2 0 1 2 0 5"},
        /* where it is not found, the model does not know its character */
        {"{'id':5,'content':'c','single_word':true}", "null", "ac c", "1 0 5"},
        {"{'id':1,'content':'a'},{'id':5,'content':'aa'},{'id':6,'content':'aab'}", "null", "aaaab", "5 6"},
        {"{'id':5,'content':'aab'},{'id':6,'content':'ab'},{'id':7,'content':'aabb'},{'id':2,'content':'b'}", "null",
         "aaabbabaab", "1 7 6 5"},
        {"{'id':5,'content':'<x>','normalized':false}", prepend, "a<x> b", "3 1 5 3 3 2"},
        {"{'id':5,'content':'b b','normalized':true}", prepend, "a b b", "3 1 5"},
        {"{'id':5,'content':'b','normalized':true}", "{'type':'Lowercase'}", "aB", "1 2"},
        {"{'id':5,'content':'BA','normalized':true}", "{'type':'Lowercase'}", "aBAb", "1 5 2"},
        {"{'id':5,'content':'BA','normalized':false}", "{'type':'Lowercase'}", "abaBA", "1 2 1 5"},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        pf_tokenizer *tok = added_load(ctx, cases[i].tokens, cases[i].normalizer);
        const char *got = tokens_ids(ctx, tok, cases[i].text, 0);
        if (strcmp(got, cases[i].want) != 0) fail_msg("case %d \"%s\": %s", i, cases[i].text, got);
        pf_tokenizer_free(tok);
    }
    /* in a vocabulary with holes: counted on from its size, or from the largest added one */
    for (int id = 3; id <= 8; id += 5) {
        char json[300];
        snprintf(json, sizeof json,
                 "{'added_tokens':[{'id':7,'content':'c'},{'id':%d,'content':'<x>'}],"
                 "'model':{'vocab':{'a':0,'b':1,'c':7},'merges':[]}}",
                 id);
        pf_tokenizer *tok = tokens_load(ctx, json);
        assert_string_equal(tokens_ids(ctx, tok, "ac<x>", 0), id == 3 ? "0 7 3" : "0 7 8");
        pf_tokenizer_free(tok);
    }
    pf_tokenizer *none;
    const char *path = tokens_file("{'added_tokens':[{'id':2,'content':'x'},{'id':4,'content':'y'}],"
                                   "'model':{'vocab':{'a':0,'b':1},'merges':[]}}");
    support_fails(ctx, pf_tokenizer_load(ctx, path, &none), PF_UNSUPPORTED, "\"y\" has the id 4, but its place");
    path = tokens_file("{'pre_tokenizer':{'type':'Split','pattern':{'Regex':'x*'},'behavior':'Isolated'},"
                       "'model':{'vocab':{'a':0,'b':1},'merges':[]}}");
    support_fails(ctx, pf_tokenizer_load(ctx, path, &none), PF_UNSUPPORTED, "\"x*\" also matches nothing");
    support_close(ctx);
}

/* ---- refusals ---- */

#define TOK_MODEL "'model':{'type':'BPE','vocab':{'a':0,'b':1},'merges':[]}"

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *json;
        pf_status status;
        const char *message;
    } cases[] = {
        {"", PF_FORMAT, "is empty"},
        {"[1]", PF_FORMAT, "an array of 1, expected an object"},
        {"{", PF_FORMAT, "not valid JSON"},
        {"{}", PF_FORMAT, "\"model\" is missing"},
        {"{'model':{'type':'BPE','vocab':{}}}", PF_FORMAT, "tokenizer.json: model: the key \"merges\" is missing"},
        {"{'model':{'type':'BPE','merges':[]}}", PF_FORMAT, "\"vocab\" is missing"},
        {"{'model':{'type':'Unigram','vocab':[]}}", PF_UNSUPPORTED, "\"Unigram\" is not supported"},
        {"{'model':{'vocab':{}}}", PF_UNSUPPORTED, "a missing name"},
        {"{'model':{'type':'BPE','vocab':{'a':-1},'merges':[]}}", PF_FORMAT, "the number -1 as its id"},
        {"{'model':{'type':'BPE','vocab':{'a':0.5},'merges':[]}}", PF_FORMAT, "the number 0.5 as its id"},
        {"{'model':{'type':'BPE','vocab':{'a':2000000000},'merges':[]}}", PF_FORMAT, "from 0 to"},
        {"{'model':{'type':'BPE','vocab':{'a':0,'b':0},'merges':[]}}", PF_FORMAT, "have the same id 0"},
        {"{'model':{'type':'BPE','vocab':{'a':0,'b':1},'merges':['a b']}}", PF_FORMAT,
         "merge 1 needs the token \"ab\""},
        {"{'model':{'type':'BPE','vocab':{'a':0,'ac':1},'merges':['a c']}}", PF_FORMAT,
         "merge 1 needs the token \"c\""},
        {"{'model':{'type':'BPE','vocab':{'a':0,'aa':1},'merges':['aa']}}", PF_FORMAT, "the string \"aa\", expected"},
        {"{'model':{'type':'BPE','vocab':{'a':0,'aa':1},'merges':['a a a']}}", PF_FORMAT, "merge 1 is"},
        {"{'model':{'type':'BPE','vocab':{'a':0,'aa':1},'merges':[['a']]}}", PF_FORMAT, "an array of 1"},
        {"{'model':{'type':'BPE','vocab':{'a':0},'merges':[],'unk_token':'u'}}", PF_FORMAT, "unk_token \"u\" is not"},
        {"{'model':{'type':'BPE','vocab':{'a':0},'merges':[],'dropout':0.1}}", PF_UNSUPPORTED, "dropout"},
        {"{'model':{'type':'BPE','vocab':{'a':0,'b':1,'ab':2},'merges':['a b'],'continuing_subword_prefix':'##'}}",
         PF_FORMAT, "second part of merge 1 does not begin with \"##\""},
        {"{'model':{'type':'BPE','vocab':{'a':0},'merges':[],'fuse_unk':1}}", PF_FORMAT, "true or false"},
        {"{'normalizer':{'type':'Precompiled'}," TOK_MODEL "}", PF_UNSUPPORTED, "normalizer: the type \"Precompiled\""},
        {"{'normalizer':{'type':'Prepend'}," TOK_MODEL "}", PF_FORMAT, "\"prepend\" is missing"},
        {"{'normalizer':7," TOK_MODEL "}", PF_FORMAT, "the number 7"},
        {"{'normalizer':{'type':'Replace','pattern':{'Regex':'('},'content':''}," TOK_MODEL "}", PF_UNSUPPORTED,
         "the regular expression \"(\""},
        {"{'normalizer':{'type':'Replace','pattern':{},'content':''}," TOK_MODEL "}", PF_FORMAT,
         "\"pattern\" must hold"},
        {"{'pre_tokenizer':{'type':'Whitespace'}," TOK_MODEL "}", PF_UNSUPPORTED, "\"Whitespace\" is not supported"},
        {"{'pre_tokenizer':{'type':'Split','pattern':{'String':' '},'behavior':'Odd'}," TOK_MODEL "}", PF_UNSUPPORTED,
         "\"Odd\""},
        {"{'pre_tokenizer':{'type':'Sequence'}," TOK_MODEL "}", PF_FORMAT, "\"pretokenizers\" is missing"},
        {"{'decoder':{'type':'WordPiece'}," TOK_MODEL "}", PF_UNSUPPORTED, "decoder: the type \"WordPiece\""},
        {"{'post_processor':{'type':'BertProcessing'}," TOK_MODEL "}", PF_UNSUPPORTED, "\"BertProcessing\""},
        {"{'post_processor':{'type':'TemplateProcessing','single':[]}," TOK_MODEL "}", PF_FORMAT, "0 times"},
        {"{'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'x'}}]}," TOK_MODEL "}",
         PF_FORMAT, "lacks \"x\""},
        {"{'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'x'}}],"
         "'special_tokens':{'x':{'ids':[5]}}}," TOK_MODEL "}",
         PF_FORMAT, "which no token has"},
        {"{'added_tokens':[{'id':1}]," TOK_MODEL "}", PF_FORMAT, "added_tokens: the key \"content\" is missing"},
        {"{'added_tokens':[{'content':'x'}]," TOK_MODEL "}", PF_FORMAT, "\"x\" has nothing as its id"},
        {"{'added_tokens':[{'id':1,'content':'x'}]," TOK_MODEL "}", PF_FORMAT, "\"b\" and \"x\" have the same id 1"},
        {"{'added_tokens':{}," TOK_MODEL "}", PF_FORMAT, "an object of 0, expected an array"},
    };
    pf_ctx *ctx = support_open();
    pf_tokenizer *tok;
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        pf_status s = pf_tokenizer_load(ctx, tokens_file(cases[i].json), &tok);
        if (s != cases[i].status) fail_msg("%s: %d, %s", cases[i].json, s, pf_errmsg(ctx));
        support_fails(ctx, s, cases[i].status, cases[i].message);
        assert_non_null(strstr(pf_errmsg(ctx), "tokenizer.json"));
        assert_null(tok);
    }
    support_fails(ctx, pf_tokenizer_load(ctx, support_path("none"), &tok), PF_IO, "No such file");
    support_fails(ctx, pf_tokenizer_load(ctx, support_path(""), &tok), PF_FORMAT, "tokenizer.json");
    support_close(ctx);
}

/* ---- a directory ---- */

static void tok_put(const char *name, const char *text) { support_write(name, text, strlen(text)); }

static void test_directory(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    support_ok(ctx, pfi_file_mkdirs(ctx, support_path("d")));
    support_ok(ctx, pfi_file_mkdirs(ctx, support_path("copy")));
    const char *dir = support_path("d"), *copy = support_path("copy");
    pf_tokenizer *tok, *again;
    support_fails(ctx, pf_tokenizer_load(ctx, dir, &tok), PF_IO, "d/tokenizer.json: No such file");
    tok_put("d/vocab.json", "{}");
    support_fails(ctx, pf_tokenizer_load(ctx, dir, &tok), PF_IO,
                  "there is vocab.json, but no tokenizer.json. transformers");
    tok_put("d/tokenizer.json", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"<s>\":1,\"</s>\":2,\"<p>\":3},"
                                "\"merges\":[]}}");
    support_ok(ctx, pf_tokenizer_load(ctx, dir, &tok));
    assert_int_equal(pf_tokenizer_eos(tok), -1);
    assert_null(pfi_tokenizer_template(tok));
    uint64_t bare = pfi_tokenizer_fingerprint(tok);
    pf_tokenizer_free(tok);

    tok_put(
        "d/tokenizer_config.json",
        "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},\"pad_token\":\"[PAD]\",\"add_bos_token\":true,"
        "\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"T\"},{\"name\":\"default\",\"template\":\"D\"}]}");
    tok_put("d/special_tokens_map.json", "{\"eos_token\":\"a\",\"pad_token\":{\"content\":\"<p>\"}}");
    support_ok(ctx, pf_tokenizer_load(ctx, dir, &tok));
    assert_int_equal(pf_tokenizer_bos(tok), 1);
    assert_int_equal(pf_tokenizer_eos(tok), 2);
    assert_int_equal(pfi_tokenizer_pad(tok), 3); /* [PAD] is no token: the other file has one */
    assert_string_equal(pfi_tokenizer_template(tok), "D");
    assert_string_equal(tokens_ids(ctx, tok, "a", PFI_TOK_SPECIAL), "1 0");
    assert_true(pfi_tokenizer_fingerprint(tok) != bare);
    support_ok(ctx, pfi_tokenizer_save(tok, copy));
    support_ok(ctx, pf_tokenizer_load(ctx, copy, &again));
    assert_true(pfi_tokenizer_fingerprint(tok) == pfi_tokenizer_fingerprint(again));
    assert_false(pfi_file_exists(support_path("copy/chat_template.jinja")));
    pf_tokenizer_free(again);
    pf_tokenizer_free(tok);

    tok_put("d/chat_template.jinja", "{{ J }}");
    support_ok(ctx, pf_tokenizer_load(ctx, dir, &tok));
    assert_string_equal(pfi_tokenizer_template(tok), "{{ J }}");
    support_ok(ctx, pfi_tokenizer_save(tok, copy));
    assert_true(pfi_file_exists(support_path("copy/chat_template.jinja")));
    pf_tokenizer_free(tok);

    tok_put("d/chat_template.jinja", "x\xFF");
    support_fails(ctx, pf_tokenizer_load(ctx, dir, &tok), PF_FORMAT, "chat_template.jinja: byte 2");
    tok_put("d/chat_template.jinja", "");
    tok_put("d/tokenizer_config.json", "[]");
    support_fails(ctx, pf_tokenizer_load(ctx, dir, &tok), PF_FORMAT, "d/tokenizer_config.json holds an array");
    tok_put("d/tokenizer_config.json", "{\"chat_template\": 5}");
    support_fails(ctx, pf_tokenizer_load(ctx, dir, &tok), PF_FORMAT, "d/tokenizer_config.json: chat_template is");
    tok_put("d/tokenizer_config.json", "{\"eos_token\": 7}");
    support_fails(ctx, pf_tokenizer_load(ctx, dir, &tok), PF_FORMAT, "d/tokenizer_config.json: eos_token is");
    tok_put("d/tokenizer_config.json", "{\"eos_token\": null, \"chat_template\": null}");
    tok_put("d/special_tokens_map.json", "{\"bos_token\": [1]}");
    support_fails(ctx, pf_tokenizer_load(ctx, dir, &tok), PF_FORMAT, "d/special_tokens_map.json: bos_token is");
    support_close(ctx);
}

/* ---- damage and memory ---- */

static void test_mutations(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_buf b = {0};
    support_ok(ctx, pfi_file_read(ctx, tokens_file(tok_chars), &b));
    char *copy = pfi_alloc(ctx, b.len);
    int loaded = 0, refused = 0;
    for (uint64_t k = 0; k < 4000; k++) {
        memcpy(copy, b.data, b.len);
        uint32_t r[4];
        pfi_random_u32x4(3, 0, k, r);
        size_t n = r[3] % 8 ? b.len : r[2] % b.len;
        for (uint32_t i = 0; i <= r[0] % 2; i++) {
            uint32_t q[4];
            pfi_random_u32x4(3, i + 1, k, q);
            copy[q[0] % b.len] = q[1] % 2 ? (char)(unsigned char)q[2] : "0123456789[]{},:\"-. a"[q[2] % 21];
        }
        pf_tokenizer *tok;
        const char *path = support_write("mutant.json", copy, n);
        if (pf_tokenizer_load(ctx, path, &tok) != PF_OK) {
            refused++;
            continue;
        }
        loaded++;
        tokens_ids(ctx, tok, "1+2=</s>12;é", PFI_TOK_SPECIAL);
        pf_tokenizer_free(tok);
    }
    assert_true(loaded > 50 && refused > 1000);
    pfi_free(ctx, copy);
    pfi_buf_free(ctx, &b);
    support_close(ctx);
}

static const char tok_oom[] =
    "{'added_tokens':[{'id':6,'content':'<x>','special':true},{'id':7,'content':'b a','normalized':true}],"
    "'normalizer':{'type':'Sequence','normalizers':[{'type':'NFC'},{'type':'Prepend','prepend':'▁'},"
    "{'type':'Replace','pattern':{'String':' '},'content':'▁'}]},"
    "'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'Digits','individual_digits':true},"
    "{'type':'Metaspace','replacement':'▁','prepend_scheme':'first'},{'type':'Split','pattern':{'Regex':'b+'},"
    "'behavior':'Isolated'},{'type':'ByteLevel','add_prefix_space':true,'use_regex':true}]},"
    "'post_processor':{'type':'Sequence','processors':[{'type':'ByteLevel'},{'type':'TemplateProcessing','single':["
    "{'SpecialToken':{'id':'<x>'}},{'Sequence':{'id':'A'}},{'SpecialToken':{'id':'<x>'}}],"
    "'special_tokens':{'<x>':{'ids':[6]}}}]},"
    "'decoder':{'type':'Sequence','decoders':[{'type':'ByteLevel'},{'type':'Replace','pattern':{'String':'▁'},"
    "'content':' '},{'type':'ByteFallback'},{'type':'Fuse'},{'type':'Strip','content':' ','start':1,'stop':0},"
    "{'type':'Metaspace','replacement':'▁'}]},"
    "'model':{'type':'BPE','unk_token':'u','byte_fallback':true,'vocab':{'a':0,'b':1,'u':2,'Ġ':3,'bb':4,'bbb':5},"
    "'merges':['b b','bb b']}}";

static pf_status tok_everything(pf_ctx *ctx, void *ud) {
    pf_tokenizer *tok;
    PF_TRY(pf_tokenizer_load(ctx, ud, &tok));
    const char *text = "a bbb é1 <x>abbbbbbbb bbbbbbbbbbbbbbbbbbbbbbbbbb a b a";
    int32_t *ids = NULL;
    char *out = NULL;
    size_t n, len;
    pfi_buf piece = {0};
    pf_status s = pf_tokenizer_encode(tok, text, strlen(text), true, &ids, &n);
    if (s == PF_OK) s = pf_tokenizer_decode(tok, ids, n, false, &out, &len);
    if (s == PF_OK) s = pfi_tokenizer_piece(tok, ids[0], &piece);
    if (s == PF_OK) s = pfi_tokenizer_save(tok, support_path("oom"));
    pfi_buf_free(ctx, &piece);
    pfi_free(ctx, ids);
    pfi_free(ctx, out);
    pf_tokenizer_free(tok);
    return s;
}

static void test_memory(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    support_ok(ctx, pfi_file_mkdirs(ctx, support_path("oom")));
    support_close(ctx);
    tok_put("oom/tokenizer_config.json", "{\"bos_token\":\"a\",\"chat_template\":\"{{ x }}\","
                                         "\"model_max_length\":1000000000000000019884624838656}");
    char json[sizeof tok_oom];
    memcpy(json, tok_oom, sizeof json);
    for (char *p = json; *p; p++)
        if (*p == '\'') *p = '"';
    tok_put("oom/tokenizer.json", json);
    support_sweep(tok_everything, (void *)(uintptr_t)support_path("oom"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters), cmocka_unit_test(test_bpe),       cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_long),       cmocka_unit_test(test_words),     cmocka_unit_test(test_added),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_directory), cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
