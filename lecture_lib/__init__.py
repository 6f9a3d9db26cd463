"""The running code of the course *Large Language Models*: one module per idea, each short enough to read.

In the order of the course, which is also the order in which the modules build on one another:

1. `tokenization`, `corpora`: text becomes numbers, and where the texts come from.
2. `embedding`: numbers become vectors that know their place.
3. `attention`: tokens read from one another; `attention.context` is what every layer is told.
4. `transformer`: one configuration of all models, the door, the layer, the stack.
5. `encoder`, `decoder`, `encoder_decoder`: the three kinds of model.
6. `training`, `sampling`, `generation`: they learn, and write one token after another.
7. `pretrained`: folders of Hugging Face, read and written; one file a family.
8. `lora`, `quantization`: adapted with few numbers, stored in few bits.
9. `kv_cache`, `roofline`: each token computed once, and what a machine allows.
10. `serving`: many requests at once on one cache, and a server.
11. `rlhf`: from completing to answering, and tuned by what people prefer.
12. `arena`: which model is better, from votes.
13. `prompting`: a task in words, an answer out of words, and how sure a score is.
14. `agents`: several calls for one question, put together, counted, and what they can gain.
15. `zoo`: small models that were trained for the course, by recipes that train them anew.
16. `capstone`: a reader's own functions from all chapters as one program.

Aside: `plots` and `widgets` draw, `checks` and `exercises` are what notebooks check with, `grading` judges
a class with them, `command` is the command line, and `files`, `fields`,
`weights` and `packed` are the floor that all stand on.
"""

__version__ = "0.1.0"
